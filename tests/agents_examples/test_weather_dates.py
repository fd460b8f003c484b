"""Which dates a sentence names. Today is Saturday, 2026-11-21, where a case does not say otherwise."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SATURDAY = date(2026, 11, 21)
MONDAY = date(2026, 11, 16)
SUNDAY = date(2026, 11, 22)

RANGES = [
    # days
    ("今天杭州的天气", "11-21", "11-21"),
    ("明天会下雨吗", "11-22", "11-22"),
    ("后天呢", "11-23", "11-23"),
    ("后天气温", "11-23", "11-23"),
    ("大后天", "11-24", "11-24"),
    ("今明两天", "11-21", "11-22"),
    ("明后天", "11-22", "11-23"),
    ("明天到后天", "11-22", "11-23"),
    ("三天后天气怎么样", "11-24", "11-24"),
    ("两周后去杭州", "12-05", "12-05"),
    # weekdays
    ("周三", "11-25", "11-25"),
    ("星期三杭州天气", "11-25", "11-25"),
    ("礼拜三", "11-25", "11-25"),
    ("礼拜天天气", "11-22", "11-22"),
    ("周六", "11-21", "11-21"),
    ("周三到周日", "11-25", "11-29"),
    ("周三至周五", "11-25", "11-27"),
    ("周一至五", "11-23", "11-27"),
    ("周六和周日", "11-21", "11-22"),
    ("周六、周日", "11-21", "11-22"),
    ("周三和周五", "11-25", "11-27"),
    # calendar weeks
    ("下周三", "11-25", "11-25"),
    ("下周三天气", "11-25", "11-25"),
    ("下周三到下周日杭州的天气", "11-25", "11-29"),
    ("下周三到周日", "11-25", "11-29"),
    ("下周三～下周日", "11-25", "11-29"),
    ("帮我做一个下周三到下周日杭州周边自驾游方案", "11-25", "11-29"),
    ("下个星期三到下个星期天", "11-25", "11-29"),
    ("下周五到下下周二", "11-27", "12-01"),
    ("下周五到周末", "11-27", "11-29"),
    ("下下周三", "12-02", "12-02"),
    ("下下周", "11-30", "12-06"),
    ("下周", "11-23", "11-29"),
    ("下周天气怎么样", "11-23", "11-29"),
    ("下周一起去杭州玩", "11-23", "11-29"),
    ("下周一起三天", "11-23", "11-25"),
    ("下周玩三天", "11-23", "11-25"),
    ("下周3天", "11-23", "11-25"),
    ("下周四去玩两天", "11-26", "11-27"),
    ("本周日", "11-22", "11-22"),
    ("这周", "11-21", "11-22"),
    # weekends
    ("周末", "11-21", "11-22"),
    ("这周末", "11-21", "11-22"),
    ("这个周末杭州周边", "11-21", "11-22"),
    ("下周末", "11-28", "11-29"),
    ("下个周末", "11-28", "11-29"),
    # numbers of days
    ("未来三天", "11-22", "11-24"),
    ("接下来5天杭州的天气", "11-22", "11-26"),
    ("未来一周天气", "11-22", "11-28"),
    ("这两天", "11-21", "11-22"),
    ("杭州周边三日自驾", "11-22", "11-24"),
    ("杭州3日游", "11-22", "11-24"),
    ("三天两夜", "11-22", "11-24"),
    ("从明天开始玩5天", "11-22", "11-26"),
    ("12月3日出发，玩十二天", "12-03", "12-14"),
    # calendar dates
    ("12月3日", "12-03", "12-03"),
    ("12月3号", "12-03", "12-03"),
    ("十二月二十五日", "12-25", "12-25"),
    ("12月3日到5日", "12-03", "12-05"),
    ("12月3-5日", "12-03", "12-05"),
    ("12月3日到12月5日", "12-03", "12-05"),
    ("１２月３日－５日", "12-03", "12-05"),
    ("2026年12月3日到5日", "12-03", "12-05"),
    ("12月30日到1月2日", "12-30", "2027-01-02"),
    ("1月3日", "2027-01-03", "2027-01-03"),
    ("明年3月1日", "2027-03-01", "2027-03-01"),
    ("2028年2月29日", "2028-02-29", "2028-02-29"),
    ("25号", "11-25", "11-25"),
    ("5号", "12-05", "12-05"),
    ("25号到28号", "11-25", "11-28"),
    ("25-28号", "11-25", "11-28"),
    ("30号到3号", "11-30", "12-03"),
    ("二十三日", "11-23", "11-23"),
    ("2026-12-01", "12-01", "12-01"),
    ("2026-12-01到2026-12-04", "12-01", "12-04"),
    ("2026/12/1", "12-01", "12-01"),
    ("12/3", "12-03", "12-03"),
    ("12/3-12/5", "12-03", "12-05"),
    ("12月杭州天气", "12-01", "12-31"),
    ("12月中旬", "12-11", "12-20"),
    ("下个月5号", "12-05", "12-05"),
    ("下个月", "12-01", "12-31"),
    ("月底", "11-21", "11-30"),
    # holidays
    ("元旦去杭州", "2027-01-01", "2027-01-03"),
    ("国庆", "2027-10-01", "2027-10-07"),
    ("五一三天", "2027-05-01", "2027-05-03"),
    ("明年春节", "2027-02-06", "2027-02-12"),
    # English
    ("weather today", "11-21", "11-21"),
    ("Will it rain tomorrow?", "11-22", "11-22"),
    ("the day after tomorrow", "11-23", "11-23"),
    ("Will it rain in Hangzhou on Friday?", "11-27", "11-27"),
    ("Wednesday to Sunday", "11-25", "11-29"),
    ("Wed-Sun", "11-25", "11-29"),
    ("next Wednesday to next Sunday", "11-25", "11-29"),
    ("a road trip from next Wednesday through Sunday", "11-25", "11-29"),
    ("next Friday", "11-27", "11-27"),
    ("Friday next week", "11-27", "11-27"),
    ("this weekend", "11-21", "11-22"),
    ("next weekend", "11-28", "11-29"),
    ("next week", "11-23", "11-29"),
    ("the week after next", "11-30", "12-06"),
    ("Saturday and Sunday", "11-21", "11-22"),
    ("for three days", "11-22", "11-24"),
    ("next 5 days", "11-22", "11-26"),
    ("a 3-day trip from Monday", "11-23", "11-25"),
    ("in 3 days", "11-24", "11-24"),
    ("for a week", "11-22", "11-28"),
    ("Dec 3-5", "12-03", "12-05"),
    ("Dec 3 to 5", "12-03", "12-05"),
    ("December 3rd", "12-03", "12-03"),
    ("3 December 2026", "12-03", "12-03"),
    ("3-5 December", "12-03", "12-05"),
    ("Dec 30 - Jan 2", "12-30", "2027-01-02"),
    ("Dec 3, 2027", "2027-12-03", "2027-12-03"),
    ("2026-12-01 to 2026-12-04", "12-01", "12-04"),
    ("in December", "12-01", "12-31"),
    ("next month", "12-01", "12-31"),
    ("Christmas", "12-24", "12-26"),
    # as people and models write them out
    ("从11月25日（周三）到29日（周日）", "11-25", "11-29"),
    ("Nov 25 (Wed) to Nov 29 (Sunday)", "11-25", "11-29"),
    ("11月25日至11月29日（5天）", "11-25", "11-29"),
    ("on the 25th", "11-25", "11-25"),
    # the range counts, not what is said on the way to it
    ("今天想问一下下周三到下周日的天气", "11-25", "11-29"),
    ("帮我看一下周末的天气", "11-21", "11-22"),
    ("今天是11月21日，帮我看12月3-5日", "12-03", "12-05"),
]


def _date(text: str) -> date:
    return date.fromisoformat(text if len(text) == 10 else f"2026-{text}")


@pytest.mark.parametrize(("text", "start", "end"), RANGES, ids=[case[0] for case in RANGES])
def test_a_sentence_names_its_dates(weather, text, start, end):
    dates = weather("dates")
    found = dates.resolve(text, SATURDAY)
    assert isinstance(found, dates.Dates), found
    assert (found.start, found.end) == (_date(start), _date(end))


@pytest.mark.parametrize(
    ("text", "today", "start", "end"),
    [
        ("周末", MONDAY, "11-21", "11-22"),
        ("周末", SUNDAY, "11-22", "11-22"),
        ("下周三", SUNDAY, "11-25", "11-25"),
        ("下周三", MONDAY, "11-25", "11-25"),
        ("周三", MONDAY, "11-18", "11-18"),
        ("本周三", MONDAY, "11-18", "11-18"),
        ("本周", MONDAY, "11-16", "11-22"),
        ("next Friday", MONDAY, "11-27", "11-27"),
        ("Friday", MONDAY, "11-20", "11-20"),
        ("this Friday", MONDAY, "11-20", "11-20"),
        ("国庆", date(2026, 10, 3), "10-03", "10-07"),
        ("2月29日", MONDAY, "2028-02-29", "2028-02-29"),
    ],
)
def test_what_a_word_means_depends_on_today(weather, text, today, start, end):
    found = weather("dates").resolve(text, today)
    assert (found.start, found.end) == (_date(start), _date(end))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("2月30日", "impossible"),
        ("13月1日去杭州", "impossible"),
        ("2026-02-30", "impossible"),
        ("Feb 30", "impossible"),
        ("2027年2月29日", "impossible"),
        ("35号", "impossible"),
        ("2050年春节", "impossible"),
        ("昨天", "past"),
        ("三天前", "past"),
        ("3 days ago", "past"),
        ("本周三", "past"),
        ("上周末", "past"),
        ("last Friday", "past"),
        ("11月18日", "past"),
        ("2026-11-01 to 2026-11-03", "past"),
        ("12月5日到3日", "reversed"),
        ("12月5日到12月3日", "reversed"),
        ("2026-12-05 to 2026-12-03", "reversed"),
        ("Dec 5-3", "reversed"),
        ("下周日到下周三", "reversed"),
        ("100天", "too long"),
        ("2026-12-01 to 2027-12-01", "too long"),
        ("12月1日到明年3月1日", "too long"),
    ],
)
def test_dates_that_cannot_be_used_are_named(weather, text, kind):
    dates = weather("dates")
    found = dates.resolve(text, SATURDAY)
    assert isinstance(found, dates.Problem), found
    assert found.kind == kind
    assert found.quote in found.text(chinese=True)
    assert found.quote in found.text(chinese=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "杭州的天气",
        "Hangzhou weather",
        "看看这周边有什么",
        "杭州周边自驾",
        "地铁3号线",
        "24/7",
        "雨后天气",
        "😀" * 50,
        "每周三",
    ],
)
def test_a_sentence_without_a_date_has_none(weather, text):
    assert weather("dates").resolve(text, SATURDAY) is None


@pytest.mark.parametrize(
    ("text", "assumed"), [("杭州三日游", True), ("for three days", True), ("未来三天", False), ("明天", False)]
)
def test_a_start_that_nobody_said_is_marked_as_assumed(weather, text, assumed):
    assert weather("dates").resolve(text, SATURDAY).assumed is assumed


def test_a_range_that_has_begun_is_cut_to_what_is_left(weather):
    assert weather("dates").resolve("11月18日到11月25日", SATURDAY).start == SATURDAY


FRAGMENTS = re.findall(
    r"\S+",
    "下周三 到 下周日 周末 本 上 下 周 月 日 号 年 天 今天 明天 12月 3日 30 2 2026 - / 十 三 五 、 和 未来 三天 "
    "next last Friday to and for days week Dec 31 Feb 29 30th 2027 weekend in ago 春节 国庆 底 中旬",
)


@settings(deadline=None)
@given(
    text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join)),
    spaced=st.lists(st.sampled_from(FRAGMENTS), max_size=10).map(" ".join),
    today=st.dates(date(2000, 1, 1), date(2100, 12, 31)),
)
def test_resolving_never_raises_and_never_ends_before_it_starts(weather, text, spaced, today):
    dates = weather("dates")
    for sentence in (text, spaced):
        found = dates.resolve(sentence, today)
        if isinstance(found, dates.Dates):
            assert today <= found.start <= found.end < found.start + timedelta(days=dates.MAX_DAYS)


def test_a_long_text_is_read_only_in_its_beginning(weather):
    assert weather("dates").resolve("明" * 1_000_000 + "明天", SATURDAY) is None
