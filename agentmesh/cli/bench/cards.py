"""Agents for measurements: as many as are wanted, each with a card and a sentence that asks for it, half in Chinese."""

import random
from collections.abc import Iterator
from typing import Final

from agentmesh.card import AgentCapabilities, AgentCard, AgentSkill, skills_extension
from agentmesh.contracts import Registration

_EN: Final = """
plan book compare translate summarize forecast track audit draft review schedule estimate verify classify
convert search recommend monitor repair order cancel design test measure publish archive collect deliver
report analyse |
flights hotels trains invoices contracts recipes weather traffic currencies photos videos songs podcasts
books patents medicines symptoms vaccines exams lectures recordings shipments parcels warehouses tickets
concerts museums restaurants menus taxes payrolls loans insurance stocks funds budgets servers logs
databases networks passwords backups houses rents gardens crops soil tides earthquakes satellites batteries
engines tyres bicycles buses |
tourists students doctors lawyers farmers engineers parents drivers traders musicians teachers nurses pilots
journalists chefs builders librarians gamers retirees researchers shopkeepers designers translators athletes |
quickly safely cheaply overnight offline together carefully automatically yearly locally
"""
_ZH: Final = """
规划 预订 比较 翻译 总结 预测 跟踪 审计 起草 审查 安排 估算 核实 分类 转换 搜索 推荐 监控 维修 下单 取消
设计 测试 测量 发布 归档 收集 配送 汇报 分析 |
航班 酒店 火车 发票 合同 菜谱 天气 路况 汇率 照片 视频 歌曲 播客 图书 专利 药品 症状 疫苗 考试 讲座 录音
货运 包裹 仓库 门票 音乐会 博物馆 餐厅 菜单 税务 工资 贷款 保险 股票 基金 预算 服务器 日志 数据库 网络 密码
备份 房屋 租金 花园 庄稼 土壤 潮汐 地震 卫星 电池 发动机 轮胎 自行车 公交 |
游客 学生 医生 律师 农民 工程师 家长 司机 商人 音乐家 老师 护士 飞行员 记者 厨师 建筑工 图书管理员 玩家
退休者 研究员 店主 设计师 译者 运动员 |
快速地 安全地 便宜地 详细地 连夜 离线 批量 按需 用语音 用表格 附来源
"""
"""What is done, to what, for whom, and how."""

_DATE: Final = {"type": "string", "description": "The day, as 2026-01-31."}
_DAY: Final = {"type": "string", "description": "日期，例如 2026-01-31。"}


def made(count: int) -> Iterator[tuple[Registration, str]]:
    """So many agents, always the same ones, and of each a sentence that asks for it."""
    dice = random.Random(7)  # noqa: S311 - the same every time
    words = [[part.split() for part in language.split("|")] for language in (_EN, _ZH)]
    for number in range(count):
        chinese = number % 2 == 1
        verbs, things, people, ways = words[chinese]
        verb, thing, other, who, way = map(dice.choice, (verbs, things, things, people, ways))
        if chinese:
            name, told = f"{thing}{verb}助手", f"为{who}{way}{verb}{thing}，也会处理{other}，编号 {number}。"
            asked, example = f"帮我{way}{verb}一下{thing}，我是{who}", f"请{verb}明天的{thing}"
        else:
            name = f"{thing.title()} helper"
            told = f"{verb.title()} {thing} {way} for {who}, and deal with {other}; number {number}."
            asked, example = f"Please {verb} {thing} {way} for {who}", f"{verb} my {thing} for tomorrow"
        card = _card(name, told, verb, thing, example, _DAY if chinese else _DATE)
        yield Registration(f"Bench{number}Task", card.version, card), asked


def _card(name: str, told: str, verb: str, thing: str, example: str, date: dict[str, str]) -> AgentCard:
    skill = AgentSkill(id="run", name=f"{verb} {thing}", description=told, tags=(thing, verb), examples=(example,))
    properties = {"date": date, "subject": {"type": "string", "description": thing}}
    source = {"type": "object", "properties": properties, "required": ["subject"]}
    extension = skills_extension({"run": (source, None, False)})
    capabilities = AgentCapabilities(extensions=(extension,))
    return AgentCard(
        name=name,
        description=told,
        version="1.0.0",
        skills=(skill,),
        capabilities=capabilities,
    )
