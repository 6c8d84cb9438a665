"""Efficiency: the arithmetic of its figures on recordings and prices made by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from ballast.artifacts import ROOT
from ballast.chain import BLOCK_INTERVAL_S
from ballast.deploy import account_id
from ballast.efficiency import DATA, PAGE, Market, markets, page, plots
from ballast.efficiency.market import market, seen
from ballast.efficiency.measuring import processes
from ballast.efficiency.simulation import (
    NARROW_BOTH_WAYS,
    ON_HEALTH,
    OURS,
    OURS_WITH_RESERVE,
    Act,
    Outcome,
    Pools,
    extra_equity,
    simulate,
)
from ballast.prices import (
    ANSWER_SCALE,
    HOUR_S,
    SYNTHETIC_START_S,
    PriceSeries,
    Round,
    expand,
    iso,
)
from ballast.readme import table_in
from ballast.replay import WARM_UP_S, Player
from ballast.replay.cohorts import TRIGGER_BPS, Plan
from ballast.replay.keeper import Sent
from ballast.report.efficiency import DAY_S, cost_parts_bps, efficiency
from ballast.report.recording import (
    WAD,
    AccountStart,
    Frame,
    Holding,
    Initial,
    Liquidation,
    Margin,
    Rebalance,
    Recording,
    Sale,
)

ACCOUNT = 7 << 8
T0 = 1_584_000_000
HOOKED, BARE = 0, 1


# ---- what is played


def test_markets__without_files__only_the_bundled_crash_is_played():
    (bundled,) = markets()
    assert bundled.is_played and bundled.files == ()
    assert bundled.opens_at_s == SYNTHETIC_START_S + WARM_UP_S


def test_markets__with_files__each_adds_its_own(tmp_path):
    hourly, rounds = tmp_path / "hourly.csv", [tmp_path / "eth.csv", tmp_path / "btc.csv"]
    keys = {m.key: m for m in markets(hourly, rounds)}
    assert list(keys) == ["synthetic", "march_2020", "may_2021", "spring_2020", "august_2023"]
    assert [k for k, m in keys.items() if not m.is_played] == ["spring_2020"]
    assert keys["august_2023"].files == tuple(map(str, rounds))


def test_market__opening__leaves_the_oracle_its_hours(tmp_path):
    """The rounds begin when the oracle does, and the accounts open at the date asked for."""
    first_s = T0 - T0 % DAY_S
    file = tmp_path / "eth.csv"
    lines = [f"{first_s + HOUR_S * n},20000000000" for n in range(60)]
    file.write_text("updated_at,answer\n" + "\n".join(lines))
    opens_s = first_s + DAY_S
    m = Market("m", "m", (str(file),), iso(opens_s)[:-1], iso(opens_s + DAY_S)[:-1])
    series = m.load()
    assert m.opens_at_s == opens_s
    assert (series.start_s, series.end_s) == (opens_s - WARM_UP_S, opens_s + DAY_S - HOUR_S)


# ---- figures of a recording


def _margin(equity: int, init: int = 300, maint: int = 100) -> Margin:
    return Margin(equity * WAD, init * WAD, equity * WAD, maint * WAD)


def _recording(hooked=(1_000, 1_000, 1_000), bare=(1_000, 1_000, 1_000), step_s=DAY_S) -> Recording:
    """Twins with equity 1,000 at the start and a frame every ``step_s`` seconds; ETH costs 200."""
    starts = [
        AccountStart("A01", cohort, 2.0, {"ETH": 1.0}, 1_000 * WAD) for cohort in ("hooked", "bare")
    ]
    recording = Recording("a test", starts, ["ETH"])
    held = Holding({"ETH": 2_000 * WAD}, -1_000 * WAD)
    for n, equities in enumerate(zip(hooked, bare, strict=True)):
        margins = [_margin(equity) for equity in equities]
        answers = {"ETH": 200 * ANSWER_SCALE}
        recording.frames.append(Frame(T0 + step_s * n, n, 1, answers, margins, [held, held]))
    return recording


def _rebalance(at_s: int = 0, delay: int = 1, **fields) -> Rebalance:
    return Rebalance(
        account=HOOKED,
        time_s=T0 + at_s,
        block=1,
        delay_blocks=delay,
        gas=fields.pop("gas", 0),
        before=Initial(310 * WAD, 300 * WAD),
        after=Initial(309 * WAD, 240 * WAD),
        target=1.25,
        sales=fields.pop("sales", []),
        pulled=0,
        moved=0,
        cost=fields.pop("cost", 0),
        **fields,
    )


def _slice(account: int, at_s: int, fraction: float = 0.5) -> Liquidation:
    before = _margin(90)
    return Liquidation(account, T0 + at_s, 1, 0, 0, fraction, before, cost=20 * WAD, fee=0)


def test_efficiency__nothing_recorded__says_what_to_do():
    with pytest.raises(ValueError, match="play at least one round"):
        efficiency(Recording("a test", [], ["ETH"]))


def test_cost__one_rebalance__is_split_without_a_rest():
    recording = _recording()
    # 400,000 gas at 50 gwei are 0.02 ether, 4 dollars, of which the caller was paid 3.
    done = _rebalance(gas=400_000, cost=10 * WAD, fees=6 * WAD, pay=3 * WAD)
    recording.rebalances = [done]
    parts = cost_parts_bps(recording, HOOKED, gas_gwei=50)
    assert parts == pytest.approx({"fee": 60, "impact": 10, "pay": 30, "gas": 10})
    figures = efficiency(recording, gas_gwei=50)["swaps"]["cost_bps"]
    assert (figures["total"], figures["max"]) == (110, 110)


def test_cost__pay_above_the_gas__leaves_no_gas_and_covers_no_other_rebalance():
    recording = _recording()
    paid = _rebalance(gas=100_000, cost=3 * WAD, pay=3 * WAD)
    recording.rebalances = [paid, _rebalance(1, gas=100_000)]
    parts = cost_parts_bps(recording, HOOKED, gas_gwei=50)
    assert parts == pytest.approx({"fee": 0, "impact": 0, "pay": 30, "gas": 10})


def test_cost__trade_that_lessens_the_skew__has_negative_impact():
    recording = _recording()
    recording.rebalances = [_rebalance(cost=5 * WAD, fees=6 * WAD)]
    assert cost_parts_bps(recording, HOOKED)["impact"] == pytest.approx(-10)


def test_cost__gas__is_priced_at_the_frame_before_the_rebalance():
    recording = _recording()
    recording.frames[1] = replace(recording.frames[1], answers={"ETH": 400 * ANSWER_SCALE})
    for at_s, dollars in ((DAY_S - 1, 2), (DAY_S, 4), (3 * DAY_S, 2)):
        recording.rebalances = [_rebalance(at_s, gas=10**6)]
        parts = cost_parts_bps(recording, HOOKED, gas_gwei=10)
        assert parts["gas"] == pytest.approx(10 * dollars)


def test_cost__twin_without_a_hook__bears_none_of_it():
    recording = _recording()
    recording.rebalances = [_rebalance(cost=10 * WAD, fees=6 * WAD, gas=10**6)]
    assert set(cost_parts_bps(recording, BARE).values()) == {0}


def test_delay__several_rebalances__nearest_rank():
    recording = _recording()
    recording.rebalances = [_rebalance(n, delay) for n, delay in enumerate([0, 2, 2, 1, 9])]
    figures = efficiency(recording)["swaps"]["delay_blocks"]
    assert figures == {"p50": 2, "p95": 9, "max": 9}


def test_delay__no_rebalance__has_no_figure():
    figures = efficiency(_recording())["swaps"]["delay_blocks"]
    assert figures == {"p50": None, "p95": None, "max": None}


@pytest.mark.parametrize(
    ("slices", "avoided", "caused"),
    [
        ([], 0, 0),
        ([_slice(BARE, 1)], 1, 0),
        ([_slice(HOOKED, 1)], 0, 1),
        ([_slice(HOOKED, 1), _slice(BARE, 1)], 0, 0),
        ([_slice(BARE, 1), _slice(HOOKED, 1, fraction=0.0)], 1, 0),  # a rescue is none
    ],
)
def test_liquidated__by_twin__counts_what_only_one_of_them_suffered(slices, avoided, caused):
    recording = _recording()
    recording.liquidations = slices
    figures = efficiency(recording)["swaps"]["liquidated"]
    assert (figures["avoided"], figures["caused"]) == (avoided, caused)
    assert figures["bare_cost_bps"] == 200 * any(x.account == BARE for x in slices)


@pytest.mark.parametrize(
    ("liquidated_s", "in_24h", "by_end"),
    [
        (None, 1, 1),
        (99, 1, 1),  # before the round that permitted the rebalance
        (100, 0, 0),
        (100 + DAY_S, 0, 0),
        (101 + DAY_S, 1, 0),
    ],
)
def test_false_rescue__twin_liquidated_at__counts_from_the_permitting_round(
    liquidated_s, in_24h, by_end
):
    recording = _recording()
    recording.rebalances = [_rebalance(100 + 2 * BLOCK_INTERVAL_S, delay=2)]
    if liquidated_s is not None:
        recording.liquidations = [_slice(BARE, liquidated_s)]
    figures = efficiency(recording)["swaps"]["false_rescues"]
    never = int(liquidated_s is None)
    assert figures == {"in_24h": in_24h, "by_end": by_end, "of": 1, "accounts": never}


def test_churn__two_days__is_per_account_and_day():
    recording = _recording()
    sold = Sale("ETH", 2.5, 500 * WAD, 498 * WAD)
    recording.rebalances = [
        _rebalance(sales=[sold]),
        _rebalance(50, trimmed=300 * WAD, hedged=200 * WAD),
        _rebalance(60),
    ]
    churn = efficiency(recording)["swaps"]["churn"]
    assert churn == {"rebalances": 1.5, "turnover": 0.5, "opposite": 0}


@pytest.mark.parametrize(
    ("after_s", "change", "opposite"),
    [(DAY_S, {"ETH": 5}, 1), (DAY_S + 1, {"ETH": 5}, 0), (60, {"ETH": -5}, 0), (60, {"BTC": 5}, 0)],
)
def test_churn__turned_around__only_the_same_asset_within_a_day(after_s, change, opposite):
    recording = _recording()
    recording.rebalances = [
        _rebalance(exposure={"ETH": -9}),
        _rebalance(after_s, exposure=change),
    ]
    assert efficiency(recording)["swaps"]["churn"]["opposite"] == opposite


def test_breach__states__last_until_the_next_frame():
    recording = _recording(hooked=(300, 299, 301, 50), bare=(99, 100, 500, 0), step_s=60)
    minutes = efficiency(recording)["swaps"]["breach_min"]
    assert minutes["hooked"] == {"initial": 1, "maintenance": 0}
    assert minutes["bare"] == {"initial": 2, "maintenance": 1}


def test_groups__kinds_with_perpetuals__are_told_apart_and_together():
    recording = _recording()
    longs = [
        AccountStart("L01", cohort, 2.0, {"ETH": 1.0}, 1_000 * WAD, kind="long")
        for cohort in ("hooked", "bare")
    ]
    recording.accounts += longs
    for n, frame in enumerate(recording.frames):
        margins, held = [*frame.margins] * 2, [*frame.holdings] * 2
        recording.frames[n] = replace(frame, margins=margins, holdings=held)
    recording.rebalances = [replace(_rebalance(cost=4 * WAD), account=2)]
    groups = efficiency(recording)
    assert {name: g["accounts"] for name, g in groups.items()} == {
        **{"swaps": 1, "long": 1},
        **{"perpetuals": 1, "all": 2},
    }
    totals = {name: g["cost_bps"]["total"] for name, g in groups.items()}
    assert totals == {"swaps": 0, "long": 40, "perpetuals": 40, "all": 20}


# ---- a rebalance from its events


class _Events:
    """A contract that logged what it is given, by event."""

    def __init__(self, **logged: list[dict]) -> None:
        self._logged = logged

    def events(self, receipt, name: str) -> list:
        return [
            SimpleNamespace(args=SimpleNamespace(account=ACCOUNT, **a))
            for a in self._logged.get(name, [])
        ]


def _told(kind: str, steps: list[dict], swaps=(), trades=(), paid=()) -> Rebalance:
    """What a player makes of one transaction with these events; ETH has 18 decimals, the quote
    token 6."""
    system = SimpleNamespace(
        rebalancer=_Events(StepTaken=steps),
        clearinghouse=_Events(Swapped=list(swaps)),
        perps=_Events(Traded=list(trades)),
        mandates=_Events(KeeperPaid=[{"amount": amount} for amount in paid]),
    )
    member = SimpleNamespace(plan=SimpleNamespace(kind=kind), account=ACCOUNT)
    player = object.__new__(Player)
    player.world = SimpleNamespace(
        system=system,
        decimals=lambda name: 6 if name == "quote" else 18,
        venue=SimpleNamespace(pools={"ETH": SimpleNamespace(fee_ppm=3_000)}),
    )
    player.members, player._names, player._time_s = [member], {1: "ETH"}, T0 + 24
    sent = Sent(member, T0, SimpleNamespace(block=7, gas_used=400_000))
    judged = SimpleNamespace(
        equity_before=1, required_before=2, equity_after=3, required_after=4, loss=9 * WAD
    )
    return player._rebalance(sent, judged)


def test_rebalance__sale_and_pay__fees_are_the_pool_s_and_pay_is_in_wad():
    steps = [{"kind": 4, "asset": 1, "value": 1_000 * WAD}]
    swaps = [{"asset_in": 1, "amount_in": 5 * WAD, "amount_out": 996_000_000}]
    told = _told("spot", steps, swaps, paid=[1_500_000, 250_000])
    assert told.fees == 3 * WAD
    assert told.pay == 7 * WAD // 4
    assert told.exposure == {"ETH": -1_000 * WAD}
    assert told.delay_blocks == 2


@pytest.mark.parametrize(("kind", "change"), [("long", -1), ("short", 1)])
def test_rebalance__trim__fee_is_the_market_s_and_exposure_goes_toward_zero(kind, change):
    steps = [{"kind": 6, "asset": 1, "value": 1_000 * WAD}]
    size = change * 5 * WAD
    trades = [{"size_change": size, "index_wad": 200 * WAD, "fee_e6": 10_000}]
    told = _told(kind, steps, trades=trades)
    assert told.fees == 10 * WAD
    assert told.exposure == {"ETH": change * 1_000 * WAD}


@pytest.mark.parametrize(
    ("steps", "exposure"),
    [
        ([{"kind": 3, "asset": 1, "value": 7}], {"ETH": 7}),  # collateral of a sibling
        ([{"kind": 7, "asset": 1, "value": 7}], {"ETH": -7}),  # hedge
        ([{"kind": 3, "asset": 1, "value": 7}, {"kind": 7, "asset": 1, "value": 9}], {"ETH": -2}),
        ([{"kind": 1, "asset": 0, "value": 7}, {"kind": 5, "asset": 1, "value": 7}], {}),
    ],
)
def test_rebalance__exposure__counts_what_changes_it(steps, exposure):
    assert _told("basis", steps).exposure == exposure


# ---- the market without a chain


def _crash(depth: float = 0.3, hours: float = 1.0, rises: bool = False) -> PriceSeries:
    """Calm while the oracle warms up, then ETH falls in a straight line, and stays there or comes
    back in the last hour."""
    end_s = T0 + WARM_UP_S
    knots = [(T0, 200.0), (T0 + HOUR_S, 200.4), (end_s, 200.0), (end_s + 600, 200.0)]
    fallen_s, low = end_s + 600 + int(hours * HOUR_S), 200.0 * (1 - depth)
    knots += [(fallen_s, low), (fallen_s + HOUR_S, low)]
    knots.append((fallen_s + 2 * HOUR_S, 200.0 if rises else low))
    return PriceSeries("a fall", tuple(expand("ETH", knots)))


def _plan(leverage: float = 3.0, **fields) -> Plan:
    kind = fields.pop("reserve_kind", "none")
    return Plan("A01", leverage, {"ETH": 1.0}, fields.pop("equity", 10_000), kind, **fields)


def _play(rule, series=None, late_s=BLOCK_INTERVAL_S, plan=None):
    series = series or _crash()
    moments = list(market(series, 0 if late_s == 0 else 1))
    (outcome,) = simulate(
        moments, series, [plan or _plan()], rule, series.start_s + WARM_UP_S, late_s
    )
    return outcome


def test_market__poke_a_block_later__rates_follow_the_round():
    rounds = tuple(Round("ETH", T0 + t, a * ANSWER_SCALE) for t, a in ((0, 200), (1_000, 150)))
    _, poked, fallen, last = moments = list(market(PriceSeries("two", rounds)))
    assert [m.time_s - T0 for m in moments] == [0, 12, 1_008, 1_020]
    assert fallen.acting[1].price_wad == 200 * WAD and fallen.ending[1].price_wad == 150 * WAD
    assert fallen.ending[1].risk == poked.ending[1].risk == fallen.acting[1].risk
    assert last.ending[1].risk.r_init_e6 > fallen.ending[1].risk.r_init_e6


def test_market__no_delay__rates_follow_in_the_round_s_own_block():
    rounds = tuple(Round("ETH", T0 + t, a * ANSWER_SCALE) for t, a in ((0, 200), (1_000, 150)))
    _, fallen = market(PriceSeries("two", rounds), 0)
    assert fallen.ending[1].risk.r_init_e6 > fallen.acting[1].risk.r_init_e6
    prices, rates = seen(fallen.ending)
    assert prices == pytest.approx([150])
    assert rates.r_init == pytest.approx([fallen.ending[1].risk.r_init_e6 / 10**6])


def test_market__rounds_of_neighbouring_blocks__poke_stands_before_the_second():
    rounds = tuple(Round("ETH", T0 + t, a * ANSWER_SCALE) for t, a in ((0, 200), (12, 150)))
    first, second, _ = market(PriceSeries("two", rounds))
    assert second.acting[1].risk.poked_at == second.time_s > first.ending[1].risk.poked_at
    assert second.acting[1].price_wad == 200 * WAD


# ---- policies on it


def test_simulate__without_a_policy__is_liquidated_and_pays_for_it():
    outcome = _play(None)
    assert outcome.slices_wad and not outcome.acts
    assert outcome.cost_bps > 50
    assert outcome.end_wad < outcome.start_wad == pytest.approx(10_000 * WAD, rel=1e-9)


def test_simulate__ours__is_not_liquidated_and_pays_less():
    outcome, bare = _play(OURS), _play(None)
    assert outcome.slices_wad == [] and outcome.refused == []
    assert 0 < outcome.cost_bps < bare.cost_bps
    assert outcome.opposite() == 0


def test_simulate__no_policy__nothing_is_made_out_of_nothing():
    """What a slice leaves is what was there, less the price's move and the bonus."""
    series = _crash(depth=0.2)
    untouched = _plan(leverage=1.2)
    outcome = _play(None, series, plan=untouched)
    assert outcome.slices_wad == []
    # 12,000 of collateral lost a fifth.
    assert outcome.end_wad / WAD == pytest.approx(10_000 - 0.2 * 12_000, rel=1e-6)


@pytest.mark.parametrize("kind", ["wallet", "cash", "collateral"])
def test_simulate__reserve__is_used_before_anything_is_sold(kind):
    plan = _plan(leverage=2.8, reserve_kind=kind)
    helped, alone = (_play(rule, plan=plan) for rule in (OURS_WITH_RESERVE, OURS))
    assert helped.start_wad == alone.start_wad == pytest.approx(11_500 * WAD, rel=1e-9)
    assert -helped.acts[0].bought_wad < -alone.acts[0].bought_wad
    assert helped.slices_wad == []


def test_simulate__both_ways_in_a_saw__trades_round_and_round():
    end_s = T0 + WARM_UP_S
    knots = [(T0, 200.0), (end_s, 200.0)]
    knots += [(end_s + 900 * n, 200.0 * (1.03 if n % 2 else 1.0)) for n in range(1, 40)]
    series = PriceSeries("a saw", tuple(expand("ETH", knots)))
    turning, ours = _play(NARROW_BOTH_WAYS, series), _play(OURS, series)
    assert turning.opposite() > 10 > ours.opposite() == 0
    assert turning.cost_bps > 2 * ours.cost_bps


def test_simulate__late_keeper__acts_no_sooner_than_he_is_late():
    at_once, late = (_play(OURS, late_s=late_s).acts[0].time_s for late_s in (0, 300))
    assert late >= at_once + 300
    next_block = _play(OURS).acts[0].time_s
    assert at_once < next_block < late


def test_simulate__on_maintenance_margin__acts_later_than_ours():
    ours, later = _play(OURS), _play(ON_HEALTH)
    assert ours.acts[0].time_s < later.acts[0].time_s
    assert later.end_wad < ours.end_wad


def test_simulate__first_act__is_below_the_trigger_and_not_before():
    series = _crash()
    moments = list(market(series))
    outcome = _play(OURS, series)
    plan, first_s = _plan(), outcome.acts[0].time_s
    units = plan.equity * plan.leverage / 200
    ratios = []
    for m in moments:
        if T0 + WARM_UP_S < m.time_s < first_s:
            prices, rates = seen(m.ending)
            required = units * prices[0] * (rates.r_init[0] + rates.l_init[0])
            ratios.append((units * prices[0] - plan.loan) / required)
    assert ratios[-1] < TRIGGER_BPS / 10_000 <= min(ratios[:-1])


def test_extra_equity__exactly_that_much__is_what_survives():
    """No less will do, so no account without a hook gets by with less than the page says."""
    series, plan = _crash(rises=True), _plan(equity=1_000_000)
    moments, opens_at_s = list(market(series)), series.start_s + WARM_UP_S
    (extra,) = extra_equity(moments, series, [plan], opens_at_s)
    assert extra > 0.1

    def is_liquidated(part: float) -> bool:
        equity = round(plan.equity * (1 + part))
        richer = replace(plan, equity=equity, leverage=plan.leverage * plan.equity / equity)
        (outcome,) = simulate(moments, series, [richer], None, opens_at_s)
        return bool(outcome.slices_wad)

    assert not is_liquidated(extra + 1e-5)
    assert is_liquidated(extra - 1e-5)


def test_pools__round_trip__gains_nothing():
    pools = Pools({1: 2_000.0})
    for value in (10.0, 10_000.0, 10**7):
        amount = pools.bought(1, value, 1_500.0)
        back = pools.sold(1, amount, 1_500.0)
        assert back < value * 0.9941
        assert amount < value / 1_500 * 0.997


def test_pools__full_range__impact_grows_with_the_size():
    """The depth of 75 million makes 100,000 dollars some 13 bp dearer than the fee."""
    pools = Pools({1: 2_000.0})
    small, large = (1 - pools.sold(1, v / 2_000, 2_000.0) / v for v in (1.0, 100_000.0))
    assert small == pytest.approx(0.003, abs=1e-5)
    assert large - small == pytest.approx(0.0013, abs=1e-4)


def test_outcome__opposite__needs_the_other_direction_within_a_day():
    start = Outcome(_plan(), 100 * WAD, 100 * WAD)
    acts = [Act(0, WAD, -50 * WAD), Act(DAY_S, 0, 20 * WAD), Act(2 * DAY_S + 1, 0, -5 * WAD)]
    outcome = replace(start, acts=acts)
    assert outcome.opposite() == 1
    assert outcome.turnover == pytest.approx(0.75)
    assert outcome.cost_bps == pytest.approx(100)


# ---- the page


def test_page__tables__are_those_of_the_kept_figures():
    figures, text = json.loads(DATA.read_text()), PAGE.read_text()
    for name, table in page.TABLES.items():
        assert table_in(text, name) == table(figures), f"{name}: run the script with --render"


def test_page__charts__are_those_of_the_kept_figures():
    figures, text = json.loads(DATA.read_text()), PAGE.read_text()
    for name, svg in page.charts(figures).items():
        assert (page.CHARTS / name).read_text() == svg
        assert f"(efficiency/{name})" in text
        ElementTree.fromstring(svg)


def test_bars__parts__lie_side_by_side_to_scale():
    svg = plots.bars("A & B", "bp", ("x", "y"), [plots.Bar("row", [30.0, 10.0, -5.0], "40")])
    root = ElementTree.fromstring(svg)
    rects = [r for r in root.iter() if r.get("height") == "15"]
    widths = [float(r.get("width")) for r in rects]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2) and widths[2] == 0
    starts = [float(r.get("x")) for r in rects]
    assert starts[1] == pytest.approx(starts[0] + widths[0], abs=0.2)
    assert "A &amp; B" in svg


@pytest.mark.parametrize("most", [0.3, 1.0, 7.0, 59.9, 60.0, 4_808.0])
def test_grid__any_scale__has_few_round_lines(most):
    step = plots._step(most)
    assert 2 < most / step <= 6.001
    assert f"{step:.6g}".strip("0.")[0] in "125"


def test_processes__checkout_not_on_the_path__find_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under `ape run`, which takes it off."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(ROOT))])
    with processes(1) as pool:
        assert pool.submit(account_id, "0x" + "00" * 19 + "01", 2).result() == 258
