"""The report: its figures against a recording made by hand, and the page against its promises."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ballast.report import (
    AccountStart,
    Frame,
    Holding,
    Initial,
    Margin,
    Rebalance,
    Recording,
    Sale,
    percentile,
    render,
    summarise,
    write,
)
from ballast.report.charts import MAX_POINTS, thin
from ballast.report.recording import House, Liquidation
from tests.fake_run import fake_recording

WAD = 10**18
T0 = 1_584_000_000


def _margin(equity: int, init: int, maint: int) -> Margin:
    return Margin(equity * WAD, init * WAD, equity * WAD, maint * WAD)


def _two_accounts() -> Recording:
    """Twins at 2x: the bare one breaches in the third frame, the hooked one acts twice."""
    starts = [
        AccountStart("A01", "hooked", 2.0, {"ETH": 1.0}, 1_000 * WAD),
        AccountStart("A01", "bare", 2.0, {"ETH": 1.0}, 1_000 * WAD),
    ]
    recording = Recording("a test", starts, ["ETH"])
    equities = [(1_000, 1_000), (700, 700), (650, 90), (800, 300)]
    for n, (hooked, bare) in enumerate(equities):
        holding = Holding({"ETH": 2_000 * WAD}, -1_000 * WAD)
        margins = [_margin(hooked, 300, 100), _margin(bare, 300, 100)]
        recording.frames.append(
            Frame(
                T0 + 600 * n,
                10 + 2 * n,
                int(n > 0),
                {"ETH": 200_00000000 - n},
                margins,
                [holding, holding],
            )
        )
    for n, (value, proceeds, delay, gas) in enumerate(
        [(500, 498, 1, 300_000), (400, 397, 3, 350_000)]
    ):
        recording.rebalances.append(
            Rebalance(
                account=0,
                time_s=T0 + 600 * (1 + n) + 12,
                block=13 + 2 * n,
                delay_blocks=delay,
                gas=gas,
                before=Initial(310 * WAD, 300 * WAD),
                after=Initial(309 * WAD, 240 * WAD),
                target=1.25,
                sales=[Sale("ETH", 2.5, value * WAD, proceeds * WAD)],
                pulled=0,
                moved=0,
                cost=(value - proceeds) * WAD,
            )
        )
    return recording


# Figures


NO_LIQUIDATIONS = {
    "slices": 0,
    "rescues": 0,
    "cost_bps": {"mean": 0.0, "max": 0.0},
    "delay_s": {"max": None},
    "gas": {"p50": None, "max": None},
    "owners_lost": 0.0,
    "insurance": 0.0,
    "house_bore": 0.0,
    "lenders_bore": 0.0,
}


def test_summarise__two_accounts__has_the_published_shape():
    figures = summarise(_two_accounts())
    assert figures == {
        "prices": {"source": "a test", "from": "2020-03-12T08:00Z", "to": "2020-03-12T08:30Z"},
        "rounds": 3,
        "hooked": {
            "accounts": 1,
            "breached": 0,
            "liquidated": 0,
            "liquidations": NO_LIQUIDATIONS,
            "rebalances": 2,
            "cost_bps": {"mean": 50.0, "max": 50.0},
            "delay_blocks": {"p50": 1, "p95": 3},
            "gas": {"p50": 300_000, "max": 350_000},
            "equity": {"start": 1_000.0, "end": 800.0},
            "from_2x": {"accounts": 1, "breached": 0},
            "ends_at": {"max": 1.03},
        },
        "bare": {
            "accounts": 1,
            "breached": 1,
            "liquidated": 0,
            "liquidations": NO_LIQUIDATIONS,
            "rebalances": 0,
            "cost_bps": {"mean": 0.0, "max": 0.0},
            "delay_blocks": {"p50": None, "p95": None},
            "gas": {"p50": None, "max": None},
            "equity": {"start": 1_000.0, "end": 300.0},
            "from_2x": {"accounts": 1, "breached": 1},
            "ends_at": {"max": None},
        },
    }


def test_breached_at__recovered_account__still_counts():
    recording = _two_accounts()
    assert recording.breached_at(1) == 2
    assert recording.breached_at(0) is None
    assert recording.lowest_health(1) == pytest.approx(0.9)


@pytest.mark.parametrize(("equity", "breached"), [(99, True), (100, False), (-5, True)])
def test_is_breached__at_the_line__needs_equity_strictly_below(equity, breached):
    assert _margin(equity, 150, 100).is_breached is breached


def test_is_breached__no_requirement__only_below_zero():
    assert not Margin(0, 0, 0, 0).is_breached
    assert Margin(0, 0, -1, 0).is_breached


def test_end_equity__reserve_beside_the_account__counts_as_it_did_at_the_start():
    recording = _two_accounts()
    held = Holding({"ETH": 2_000 * WAD}, -1_000 * WAD, reserve=75 * WAD)
    recording.frames[-1] = replace(recording.frames[-1], holdings=[held, held])
    assert [recording.end_equity(i) for i in (0, 1)] == [875 * WAD, 375 * WAD]


def test_summarise__liquidated_account__counts_in_its_cohort_only():
    figures = summarise(_liquidated())
    assert (figures["hooked"]["liquidated"], figures["bare"]["liquidated"]) == (0, 1)
    assert figures["hooked"]["liquidations"] == {
        "slices": 0,
        "rescues": 1,
        "cost_bps": {"mean": 10.0, "max": 10.0},
        "delay_s": {"max": None},
        "gas": {"p50": None, "max": None},
        "owners_lost": 1.0,
        "insurance": 0.0,
        "house_bore": 0.0,
        "lenders_bore": 0.0,
    }
    assert figures["bare"]["liquidations"] == {
        "slices": 2,
        "rescues": 0,
        "cost_bps": {"mean": 220.0, "max": 220.0},
        "delay_s": {"max": 36},
        "gas": {"p50": 200_000, "max": 300_000},
        "owners_lost": 22.0,
        "insurance": -3.0,
        "house_bore": 8.0,
        "lenders_bore": 2.0,
    }
    assert figures["liquidator"] == {"hooked": 1.0, "bare": 14.5}


def test_summarise__no_liquidator__says_nothing_of_his_gains():
    assert "liquidator" not in summarise(_two_accounts())


def test_page__liquidations__each_party_and_each_row_is_there():
    page = _text(render(_liquidated()))
    assert "2 of 1 accounts with a loan" in page and "220.0 bp" in page
    for party, amounts in (
        ("Owners", "-22 -1"),
        ("The liquidator, exits paid", "+14 +1"),
        ("Insurance", "-3 0"),
        ("The house", "-8 0"),
        ("Lenders", "-2 0"),
    ):
        assert f"{party} {amounts}" in page
    assert "A01 none 0.800 25 % 20.00 200.00 4.00 - 24 200,000" in page
    assert "A01 none -0.100 100 % 2.00 20.00 0.00 17.00 36 300,000" in page
    assert "A01 rescued - - 1.00 10.00 0.00 - 12 250,000" in page


def test_page__efficiency__each_group_of_accounts_has_its_row():
    page = _text(render(_liquidated()))
    # Two sales for 5 dollars less, 650,000 gas at 20 gwei and 200 dollars an ether, of 1,000.
    assert "swaps 1 2 0.0 50.0 0.0 26.0 76.0 1 0 2 of 2" in page


def test_page__nobody_liquidated__says_so():
    assert "Nobody fell below maintenance margin." in _text(render(_two_accounts()))


def _liquidated() -> Recording:
    """The bare one twice, the second time with a deficit; the hooked one is rescued."""
    recording = _two_accounts()

    def at(account: int, delay_s: int, gas: int, fraction: float, **dollars: int) -> Liquidation:
        amounts = {name: value * WAD for name, value in dollars.items()}
        before = Margin(0, 0, amounts.pop("equity", 0), 100 * WAD)
        return Liquidation(account, T0, 5, delay_s, gas, fraction, before, **amounts)

    recording.liquidations = [
        at(1, 24, 200_000, 0.25, equity=80, cost=20, fee=4),
        at(1, 36, 300_000, 1.0, equity=-10, cost=2, fee=0, insurance=7, house=8, lenders=2),
        at(0, 12, 250_000, 0.0, cost=1, fee=0),
    ]
    recording.takers = {
        "hooked": (10 * WAD, 11 * WAD),
        "bare": (10 * WAD, 24 * WAD + WAD // 2),
    }
    return recording


def test_summarise__nothing_recorded__says_what_to_do():
    with pytest.raises(ValueError, match="play at least one round"):
        summarise(Recording("a test", [], ["ETH"]))


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [([7], 7, 7), ([1, 2], 1, 2), ([3, 1, 2], 2, 3), (list(range(1, 101)), 50, 95)],
)
def test_percentile__nearest_rank__is_one_of_the_values(values, p50, p95):
    assert (percentile(values, 50), percentile(values, 95)) == (p50, p95)


# The page


class _Outline(HTMLParser):
    """Tags that must balance, identifiers that must be unique, addresses that must not be there."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.external: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href"):
                self.external.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def _read(page: str) -> _Outline:
    outline = _Outline()
    outline.feed(page)
    outline.close()
    return outline


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(_read(page).text))


@pytest.fixture(scope="module")
def page() -> str:
    return render(fake_recording())


def test_render__whole_run__is_one_sound_file_that_loads_nothing(page):
    outline = _read(page)
    assert outline.open == []
    assert outline.external == [], "the page must work without a network"
    assert sorted(outline.ids) == sorted(set(outline.ids))
    assert {f"chart-{name}" for name in ("price", "health", "holdings", "cost")} <= set(outline.ids)
    assert "Plotly.newPlot" in page


def test_render__whole_run__shows_every_account_and_rebalance(page):
    recording = fake_recording()
    text = " ".join(_read(page).text)
    figures = summarise(recording)
    for account in recording.accounts:
        assert account.name in text
    rows = page.count("<tr>")
    assert rows == len(recording.members("bare")) + len(recording.rebalances) + 11
    assert f"{figures['hooked']['cost_bps']['mean']:.1f} bp" in text
    assert len(re.findall(r"of 12 accounts breached", text)) == 2


def test_render__no_rebalances__says_so():
    recording = _two_accounts()
    recording.rebalances.clear()
    text = " ".join(_read(render(recording)).text)
    assert "No account needed one." in text
    assert "Gas per rebalance" not in text


def test_render__help_from_reserves__is_told_in_words():
    recording = _two_accounts()
    last = recording.rebalances[-1]
    recording.rebalances += [
        replace(last, sales=[], pulled=120 * WAD, cost=0),
        replace(last, sales=[], moved=80 * WAD, cost=0),
    ]
    text = _text(render(recording))
    assert "from the wallet ($120)" in text
    assert "from its sibling ($80)" in text


def test_render__perpetuals__are_told_with_the_house():
    recording = fake_recording(4)
    starts = [replace(a, kind="long") if a.name == "A04" else a for a in recording.accounts]
    house = House(10**6 * WAD, 1.0, {"ETH": 5_000 * WAD})
    frames = [replace(f, house=house) for f in recording.frames]
    frames[-1] = replace(frames[-1], house=house._replace(share_price=0.99))
    recording = replace(recording, accounts=starts, frames=frames)
    recording.rebalances.append(
        replace(recording.rebalances[-1], sales=[], settled=70 * WAD, trimmed=90 * WAD)
    )
    text = _text(render(recording))
    assert "gain settled ($70) + perpetual closed ($90)" in text
    assert "Accounts with perpetuals" in text and "-100.0 bp" in text
    assert "Accounts with perpetuals" not in " ".join(_read(render(fake_recording(4))).text)
    figures = summarise(recording)
    assert figures["hooked"]["accounts"] == 3
    assert figures["perpetuals"]["long"]["bare"]["accounts"] == 1
    assert figures["house"]["share_price"] == {"start": 1.0, "end": 0.99}


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ({}, "No rebalance that was due failed."),
        ({"oracle: too old": 3}, "3 with “oracle: too old”"),
    ],
)
def test_render__refused_rebalances__are_counted_by_reason(refused, told):
    text = " ".join(_read(render(replace(_two_accounts(), refused=refused))).text)
    assert told in text


def test_render__one_round_of_one_asset__still_works():
    recording = _two_accounts()
    del recording.frames[1:]
    assert _read(render(recording)).open == []


def test_render__source_with_markup__is_escaped():
    recording = replace(_two_accounts(), source="<script>alert(1)</script>")
    assert "<script>alert(1)" not in render(recording)


def test_render__fake_run_without_requirement__has_no_division_by_zero():
    recording = _two_accounts()
    empty = Margin(5 * WAD, 0, 5 * WAD, 0)
    recording.frames = [replace(f, margins=[empty, empty]) for f in recording.frames]
    assert _read(render(recording)).open == []


def test_write__new_folder__leaves_page_and_figures(tmp_path):
    recording = _two_accounts()
    figures = write(recording, tmp_path / "out" / "demo")
    assert json.loads((tmp_path / "out/demo/report.json").read_text()) == figures
    assert (tmp_path / "out/demo/report.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_thin__long_line__keeps_ends_and_extremes():
    values = [float(abs(n - 7_777)) for n in range(20_000)]
    values[5_001] = 99_999.0
    kept = thin(values)
    assert len(kept) <= MAX_POINTS
    assert kept == sorted(kept)
    assert {0, 5_001, 7_777, 19_999} <= set(kept)


def test_thin__short_line__keeps_all():
    assert thin([1.0, 2.0, 3.0]) == [0, 1, 2]


def test_fake_run__bundled_crash__breaks_the_bare_and_spares_the_hooked():
    """The stand-in must show what the page is for, or looking at it proves nothing."""
    figures = summarise(fake_recording())
    assert figures["hooked"]["breached"] == 0 < figures["hooked"]["rebalances"]
    assert figures["bare"]["breached"] >= 6
