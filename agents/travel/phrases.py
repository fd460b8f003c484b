"""Everything the guide says, in Chinese and in English."""

from datetime import date

from .places import Leg, Name

_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")
KINDS = {
    "cave": Name("溶洞", "cave"),
    "forest": Name("森林", "forest"),
    "garden": Name("园林", "garden"),
    "lake": Name("湖泊", "lake"),
    "memorial": Name("名人故居", "writer's house"),
    "mountain": Name("山岳", "mountain"),
    "museum": Name("博物馆", "museum"),
    "old_street": Name("老街", "old street"),
    "old_town": Name("古镇", "old town"),
    "river": Name("江河", "river"),
    "ruins": Name("遗址", "ruins"),
    "temple": Name("寺庙", "temple"),
    "valley": Name("峡谷", "valley"),
    "viewpoint": Name("观景", "viewpoint"),
    "village": Name("古村", "village"),
    "waterfall": Name("瀑布", "waterfall"),
    "wetland": Name("湿地", "wetland"),
}
REASONS = {
    "wanted": Name("你点名要去", "you asked for it"),
    "liked": Name("合你的喜好", "the kind you like"),
    "evening": Name("留到傍晚最好", "best in the evening"),
    "season": Name("正当季", "in season"),
    "dry": Name("雨天在室内", "indoors on a rainy day"),
    "cool": Name("避暑", "cool on a hot day"),
    "warm": Name("室内避寒", "warm on a cold day"),
}
_PHRASES = {
    "title around": Name("# 杭州周边自驾 {} 日方案", "# {}-day road trip around Hangzhou"),
    "title": Name("# 杭州自驾 {} 日方案", "# {}-day road trip from Hangzhou"),
    "title elsewhere": Name("# {}自驾 {} 日提纲", "# {}: outline of a {}-day road trip"),
    "title nowhere": Name("# 自驾 {} 日提纲", "# Outline of a {}-day road trip"),
    "dates": Name("- 日期：{}", "- Dates: {}"),
    "route": Name("- 路线：{}", "- Route: {}"),
    "total": Name("- 全程：{}，从杭州出发，回到杭州", "- Driving in all: {}, from Hangzhou and back"),
    "leg": Name("约 {} 公里（{}）", "about {} km ({})"),
    "day": Name("## 第 {} 天 · {} · {}", "## Day {} · {} · {}"),
    "day elsewhere": Name("## 第 {} 天 · {}", "## Day {} · {}"),
    "weather": Name("天气：{}", "Weather: {}"),
    "weather values": Name("{}～{}℃，降雨概率 {}%", "{} to {} °C, {}% chance of rain"),
    "normal": Name("，常年值", ", climate normal"),
    "weather unknown": Name("未知，出发前请查实时预报", "unknown, check a live forecast before you go"),
    "stop": Name("{}. {}到 **{}**，停留约 {}。{}：{}", "{}. {} to **{}**, stay about {}. {}: {}"),
    "by car": Name("开车{}", "Drive {}"),
    "on foot": Name("步行或开车约 1 公里", "Walk or drive about 1 km"),
    "free": Name("- 自由活动：收录的地点已经排完", "- A free day: no bundled place is left for it"),
    "only home": Name("- 收录的地点里没有适合这一天的，直接返程", "- No bundled place suits this day: drive home"),
    "back": Name("- 返程：回杭州市区，{}", "- Back to Hangzhou city: {}"),
    "overnight": Name("- 住宿：{}", "- Overnight: {}"),
    "spare wet": Name("- 雨天备选：{}（室内），离{}{}", "- Rain alternative: {} (indoors); from {} {}"),
    "spare": Name("- 若下雨：改去{}（室内），离{}{}", "- If it rains: {} (indoors); from {} {}"),
    "slow": Name(
        "- 雨天放慢：只排室内和近处，余下的时间留给茶馆和住处", "- A slow rainy day: mostly indoors, the rest for tea"
    ),
    "under a roof": Name("- 若下雨：今天的地点大多在室内，照常走", "- If it rains: most of today is indoors anyway"),
    "linger": Name(
        "- 若下雨：在{}多留一会儿（室内），户外走得短些", "- If it rains: linger in {} (indoors), walk less"
    ),
    "no spare": Name(
        "- 若下雨：附近没有室内景点，户外走得短些，早点入住", "- If it rains: nothing indoors nearby, rest early"
    ),
    "tips": Name("## 准备", "## What to take and to know"),
    "about": Name("## 说明", "## About this plan"),
    "clothes cold": Name(
        "- 衣物：{}～{}℃，要羽绒服或厚外套、保暖内层", "- Clothes: {} to {} °C, a winter coat and warm layers"
    ),
    "clothes cool": Name(
        "- 衣物：{}～{}℃，毛衣加外套，早晚再添一件",
        "- Clothes: {} to {} °C, a sweater and a jacket, more in the evening",
    ),
    "clothes mild": Name("- 衣物：{}～{}℃，长袖加薄外套", "- Clothes: {} to {} °C, long sleeves and a light jacket"),
    "clothes warm": Name(
        "- 衣物：{}～{}℃，短袖、防晒、多带水", "- Clothes: {} to {} °C, light clothes, sun protection, water"
    ),
    "rain gear": Name(
        "- 雨具：降雨概率最高 {}%，带伞和防滑鞋", "- Rain: up to {}% chance, take an umbrella and shoes with grip"
    ),
    "mountain": Name(
        "- 山上：比山下低 5℃ 左右，多带一件；山路弯多，天黑前下山",
        "- In the hills: about 5 °C colder; winding roads, be down before dark",
    ),
    "ice": Name(
        "- 路况：最低气温在 0℃ 以下，山路和桥面可能结冰", "- Roads: below 0 °C, hill roads and bridges may be icy"
    ),
    "heat": Name("- 高温：户外放在早晚，车内不要留人", "- Heat: be outdoors early or late, leave nobody in the car"),
    "museum": Name(
        "- 博物馆：多数免费、需预约，周一闭馆（行程已避开）",
        "- Museums: mostly free, book ahead; closed on Mondays (avoided here)",
    ),
    "boat": Name(
        "- 游船：先查末班时间，大风大雾会停航", "- Boats: check the last departure; none in strong wind or fog"
    ),
    "driving": Name(
        "- 驾驶：每天开车不超过 {}，每 2 小时休息一次", "- Driving: never more than {} a day; rest every 2 hours"
    ),
    "source": Name("- 天气依据：{}", "- Weather from: {}"),
    "no source": Name(
        "- 天气依据：没有拿到这些天的天气，行程未按天气调整",
        "- Weather: none was given for these days, so the plan does not react to it",
    ),
    "note": Name("- 注意：{}", "- Note: {}"),
    "assumed": Name(
        "- 日期：没有给出可用的日期，暂按 {} 安排，请告诉我你的日期",
        "- Dates: none were given, so {} was assumed; tell me yours",
    ),
    "cut": Name(
        "- 天数：收录的地点只够 {} 天，其余 {} 天没有排",
        "- Length: the bundled places last {} days; {} more are not planned",
    ),
    "left out": Name("- 没有排进：{}（这些天里路程太远或时间不够）", "- Left out: {} (too far, or too little time)"),
    "estimates": Name(
        "- 估计值：地点坐标、停留时长和闭馆日是内置的近似资料；路程按直线距离乘 {} 估算，不含拥堵。"
        "出发前请用导航，并查开放时间和票价。",
        "- Estimates: coordinates, visit times and closing days are bundled approximations; drives are {} times the "
        "great circle, without traffic. Use a navigator, and check hours and fares before you go.",
    ),
    "by model": Name(
        "- 文字：语言模型所写；行程、车程和天气不是", "- Words: a language model's; stops, drives and weather are not"
    ),
    "no words": Name(
        "（语言模型这次没有写出文字，以上由规则生成。）",
        "(The language model gave no text this time: the above was made by rule.)",
    ),
    "elsewhere": Name(
        "我只收录了杭州周边（杭州、嘉兴、湖州、绍兴）的地点，没有{}的，所以不编造景点，只按天气给出每天的安排思路。",
        "I hold places around Hangzhou only (Hangzhou, Jiaxing, Huzhou, Shaoxing), none for {}. "
        "Rather than invent sights, this outlines each day by its weather.",
    ),
    "nowhere": Name(
        "没有认出你要去哪里。我只收录了杭州周边（杭州、嘉兴、湖州、绍兴）的地点，所以不编造景点，只给出每天的安排思路。",
        "I did not recognise where you want to go. I hold places around Hangzhou only (Hangzhou, Jiaxing, Huzhou, "
        "Shaoxing). Rather than invent sights, this is an outline.",
    ),
    "out": Name(
        "- 上午开车去户外景点，中午前到；下午慢走，天黑前到住处",
        "- Drive to a place outdoors in the morning, walk in the afternoon, arrive before dark",
    ),
    "in": Name(
        "- 安排博物馆、老街等室内或有顶的地方，少开车，雨大就近住下",
        "- Museums and covered streets, little driving; stay near if it pours",
    ),
    "either": Name(
        "- 上午户外，下午留一个室内的备选",
        "- Outdoors in the morning, with something indoors in reserve for the afternoon",
    ),
    "early": Name("- 户外放在早晚，中午进室内", "- Outdoors early and late, indoors at noon"),
    "limits": Name("- 自驾建议：每天开车不超过 {}", "- Driving: better not more than {} a day"),
}


def say(phrase: str, chinese: bool, *values: object) -> str:
    """The phrase of that name with its values filled in."""
    return _PHRASES[phrase](chinese).format(*values)


def short_date(day: date, chinese: bool) -> str:
    weekday = _WEEKDAYS[day.weekday()]
    return f"{day.month}月{day.day}日 {weekday}" if chinese else f"{day:%a} {day.day} {day:%b}"


def date_range(first: date, last: date, chinese: bool) -> str:
    """Both dates, and the year of each if they differ, else the year once."""
    start, end = short_date(first, chinese), short_date(last, chinese)
    if chinese:
        year = f"{last.year}年" if last.year != first.year else ""
        return f"{first.year}年{start}" + (f" 至 {year}{end}" if last != first else "")
    year = f" {first.year}" if last.year != first.year else ""
    return (f"{start}{year} to {end}" if last != first else start) + f" {last.year}"


def duration(minutes: int, chinese: bool) -> str:
    hours, rest = divmod(minutes, 60)
    hour, minute = ("小时", "分钟") if chinese else ("h", "min")
    return " ".join([f"{hours} {hour}"] * bool(hours) + [f"{rest} {minute}"] * bool(rest or not hours))


def leg(drive: Leg, chinese: bool) -> str:
    return say("leg", chinese, drive.km, duration(drive.minutes, chinese))
