from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.comparison import CURVE_KS
from training.report.demand import page_title as demand_title
from training.report.demand import write_demand_page
from training.report.figures import drawing, to_svg
from training.report.list_qualities import list_qualities
from training.report.page import percent, points, render
from training.report.policy import page_title as policy_title
from training.report.policy import write_policy_page
from training.report.retrieval import drawn_in_cuts, write_retrieval_page
from training.report.retrieval_words import for_whom, in_short, page_title, standing

LONG = "ORGANIC-WHOLEGRAIN-SOURDOUGH/CRISPBREAD-WITH-SEEDS " * 2
DATA = {"source": "a test", "warning": "Invented <figures>.", "fingerprint": "f" * 64}
COMMON = {
    "format": 1,
    "created_at": "2024-01-01",
    "git_revision": "abc",
    "run_id": "r1",
    "part_version": "v1",
    "data": DATA,
}


def around(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.004, "high": mean + 0.004}


def row(model: str, mean: float, difference: float | None) -> dict:
    names = [f"{name}@{k}" for k in (5, 10, 20) for name in ("recall", "capped_recall", "hit_rate", "ndcg", "mrr")]
    kinds = ("coverage", "novelty", "mean_popularity", "diversity", "gini", "popularity_lift", "calibration_kl")
    lists = {f"{name}@{k}": 0.3 for k in (5, 10, 20) for name in kinds}
    return {
        "model": model,
        "metrics": {name: around(mean) for name in names},
        "difference": None if difference is None else {name: around(difference) for name in names},
        "lists": lists,
        "curve": {str(k): mean * k / 20 for k in CURVE_KS},
        "mean_list_length": 20.0,
        "seconds": 0.1,
        "cost": {"fit_wall_s": None, "fit_cpu_s": 1.5, "answer_wall_s": 0.1, "answer_cpu_s": 0.1},
    }


def retrieval_report(**changes) -> dict:
    models = {"two-tower": 0.062, "item-kNN": 0.05, "popularity": 0.0213}
    rows = [row(name, mean, None if name == "two-tower" else 0.062 - mean) for name, mean in models.items()]
    slices = [
        {"group": group, "label": label, "num_users": 1200, "recall@20": {name: around(0.05) for name in models}}
        for group, label in (("History length", "up to 9 events"), ("History length", "over 9 events"))
    ]
    tables = [
        {"name": name, "num_users": 1982, "num_answers": 57551, "rows": rows, "slices": slices}
        for name in ("new", "all")
    ]
    items = [{"title": LONG, "hit": hit} for hit in (True, False)]
    customer = {
        "customer": "ab12cd34",
        "num_events": 12,
        "history": items,
        "answers": items,
        "num_answers": 5,
        "lists": {"two-tower": items, "item-kNN": items},
    }
    return (
        COMMON
        | {
            "kind": "retrieval",
            "shop": "Corner & Sons",
            "ours": "two-tower",
            "protocol": {"label": "global temporal split", "num_candidates": 62855, "facts": {"Protocol": "time"}},
            "resamples": 1000,
            "tables": tables,
            "oracle": [{"name": "new", "recall@20": 0.1, "share_of_oracle": {"two-tower": around(0.62)}}],
            "learning_curve": [
                {"metric": "validation_ndcg@10", "points": [[10, 0.01], [20, 0.03]]},
                {"metric": "loss", "points": [[10, 5.1], [20, 4.9]]},
            ],
            "training": {
                "steps": 20,
                "fit_wall_s": 9.0,
                "fit_cpu_s": 8.5,
                "tokens_per_second": 25_000,
                "part_bytes": 530_000,
            },
            "examples": [customer] * 3,
        }
        | changes
    )


def demand_report(**changes) -> dict:
    metrics = {"wape": 0.7, "rmsse": 0.9, "bias": -0.02, "pit80": 0.81}
    metrics |= {"service90": 0.9, "stock90": 4.2, "service95": 0.94, "stock95": 5.5}
    models = [
        {"model": name, "metrics": metrics | {"wql": wql}, "low": wql - 0.01, "high": wql + 0.01, "less_gate": less}
        for name, wql, less in (("footfall", 0.55, [-0.05, -0.06, -0.04]), ("empirical_quantiles", 0.6, None))
    ]
    days = [str(day) for day in np.arange("2024-01-01", "2024-03-11", dtype="datetime64[D]")]
    item = {
        "title": LONG,
        "past_days": days[:56],
        "past_units": [None, *[float(n % 7) for n in range(55)]],
        "days": days[56:],
        "quantiles": {f"0.{level}": [float(level)] * 14 for level in range(1, 10)},
        "decision": {"reorder_point": 12.0, "lead_time_days": 7.0},
    }
    return (
        COMMON
        | {
            "kind": "demand",
            "shop": "Corner & Sons",
            "ours": "footfall",
            "gate": "empirical_quantiles",
            "protocol": {
                "num_items": 999,
                "num_windows": 2,
                "horizon": 14,
                "period": "day",
                "facts": {"Protocol": "rolling"},
            },
            "service_levels": ["90", "95"],
            "models": models,
            "pit": [0.1] * 10,
            "items": [item] * 3,
        }
        | changes
    )


def policy_report(**changes) -> dict:
    names = ("ips", "snips", "clipped_ips", "direct_method", "doubly_robust")
    checks = {
        "num_exposures": 2000,
        "effective_sample_size": 700.0,
        "largest_weight": 13.8,
        "mean_weight": around(1.0),
        "unsupported": 0.0,
        "balanced": True,
        "verdict": "The propensities agree with the log.",
    }
    row = {
        "policy": "two-tower",
        "about": "draws from its softmax",
        "value": {name: around(0.05) for name in names},
        "lead": {name: around(0.01) for name in names},
        "logged": around(0.04),
        "clipping": {"at": 44.7, "share": 0.0, "bias": -0.0001, "most_bias": -0.0002},
        "checks": checks,
    }
    return (
        COMMON
        | {
            "kind": "policy",
            "shop": "Corner & Sons",
            "ours": "two-tower",
            "slot": "home",
            "variant": "",
            "reward": "click",
            "success": "the customer opened it",
            "from_us": 1_700_000_000_000_000,
            "num_users": 800,
            "num_rewards": 76.0,
            "set_aside": {"erased": 0},
            "num_candidates": 273,
            "num_shown_items": 294,
            "resamples": 1000,
            "logged": around(0.04),
            "policies": [row, row | {"policy": "popularity"}],
        }
        | changes
    )


PAGES = {
    "retrieval": lambda path: write_retrieval_page(path, retrieval_report()),
    "demand": lambda path: write_demand_page(path, demand_report()),
    "policy": lambda path: write_policy_page(path, policy_report()),
}


@pytest.fixture(scope="module", params=list(PAGES))
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    PAGES[request.param](path)
    return path


class Resources(HTMLParser):
    """Collects what a browser would fetch, and every id."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if "id" in values:
            self.ids.append(str(values["id"]))
        for name in ("src", "srcset", "href", "xlink:href", "data", "poster"):
            target = values.get(name)
            if target and target.startswith("#"):
                self.references.append(target[1:])
            elif target and tag != "a":
                self.fetched.append(target)


def test_page_when_opened_then_it_fetches_nothing(page: Path) -> None:
    text = page.read_text()
    resources = Resources()
    resources.feed(text)
    assert resources.fetched == []
    assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe", text)


def test_page_when_figures_share_it_then_ids_are_distinct_and_resolve(page: Path) -> None:
    resources = Resources()
    resources.feed(page.read_text())
    assert set(resources.references) <= set(resources.ids)


def test_page_when_text_holds_markup_then_it_is_escaped(page: Path) -> None:
    text = page.read_text()
    assert "Corner &amp; Sons" in text
    assert "Invented &lt;figures&gt;." in text


def test_page_when_read_aloud_then_every_figure_has_title_and_description(page: Path) -> None:
    for figure in re.findall(r"<svg.*?</svg>", page.read_text(), flags=re.DOTALL):
        assert re.match(r'<svg role="img" aria-label="[^"]+"', figure)
        assert re.search(r"<title>[^<]+</title><desc>[^<]+</desc>", figure)
        assert "#010203" not in figure, "ink must follow the page's colours"


@pytest.mark.parametrize("width", [390, 1280])
def test_page_when_opened_in_a_browser_then_nothing_runs_over_the_side(
    page: Path, chromium: Path, tmp_path: Path, width: int
) -> None:
    # A headless window may refuse to be as narrow as a phone; a frame of that width is one all the same.
    frame = page.parent / f"frame-{page.stem}-{width}.html"
    frame.write_text(
        f'<body><iframe src="{page.name}" width="{width}" height="800" style="border:0"></iframe><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.title = `${page.clientWidth} ${page.scrollWidth}`; }</script></body>"
    )
    command = [str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert found, done.stdout[:500]
    shown, needed = map(int, found.groups())
    assert 0 < needed <= shown <= width


def test_page_title_when_ours_is_there_then_it_says_what_both_find() -> None:
    assert page_title(retrieval_report()) == (
        "The two-tower finds 6.2% of what customers choose next that is new to them; popularity finds 2.1%"
    )


def test_page_title_when_the_interval_holds_zero_then_it_claims_nothing() -> None:
    rows = [row("two-tower", 0.022, None), row("popularity", 0.0217, 0.0003)]
    assert page_title(retrieval_report(tables=[{"name": "new", "rows": rows}])) == (
        "The two-tower finds 2.2% of what customers choose next that is new to them, "
        "which cannot be told apart from popularity (2.2%)"
    )


@pytest.mark.parametrize(
    ("wql", "less", "expected"),
    [
        (0.54, [-0.06, -0.07, -0.05], "are 10% closer to what sold than quantiles"),
        (0.66, [0.06, 0.05, 0.07], "are 10% further from what sold than quantiles"),
        (0.59, [-0.01, -0.03, 0.01], "cannot be told apart from quantiles (WQL 0.590 and 0.600)"),
    ],
)
def test_demand_title_when_scores_differ_then_it_says_how_surely(wql: float, less: list[float], expected: str) -> None:
    models = [
        {"model": "demand model", "metrics": {"wql": wql}, "less_gate": less},
        {"model": "quantiles", "metrics": {"wql": 0.6}, "less_gate": None},
    ]
    report = demand_report(ours="demand model", gate="quantiles", models=models)
    assert demand_title(report) == f"The demand model's forecasts {expected}"


def cut(label: str, ours: float, others: float, *, group: str = "History length", num_users: int = 500) -> dict:
    found = {"two-tower": around(ours), "item-kNN": around(others), "popularity": around(0.01)}
    return {"group": group, "label": label, "num_users": num_users, "recall@20": found}


def table_of(name: str, slices: list[dict], *rows: dict) -> dict:
    models = rows or (row("two-tower", 0.06, None), row("item-kNN", 0.05, 0.01), row("popularity", 0.02, 0.04))
    return {"name": name, "num_users": 1000, "num_answers": 3000, "rows": list(models), "slices": slices}


@pytest.mark.parametrize(
    ("difference", "kind", "words"),
    [
        (0.01, "better", "1.0 points more than the best baseline, item-kNN (95% interval +0.6 to +1.4)"),
        (-0.01, "worse", "1.0 points fewer than the best baseline, item-kNN (95% interval −1.4 to −0.6)"),
        (0.002, "even", "which cannot be told apart from the best baseline, item-kNN (5.0%; 95% interval"),
    ],
)
def test_standing_when_the_difference_has_an_interval_then_the_sentence_claims_no_more(
    difference: float, kind: str, words: str
) -> None:
    rows = row("two-tower", 0.06, None), row("item-kNN", 0.05, difference), row("popularity", 0.02, 0.04)
    (found,) = standing(retrieval_report(), table_of("new", [], *rows))
    assert found["kind"] == kind
    assert words in found["text"]


def test_standing_when_a_champion_and_a_blend_are_there_then_each_has_its_place() -> None:
    rows = (
        row("for_you", 0.07, None),
        row("two-tower", 0.06, 0.01),
        row("champion", 0.065, 0.005),
        row("item-kNN", 0.05, 0.02),
    )
    table = table_of("all", [], *rows)
    (others,) = standing(retrieval_report(), table)
    assert "the for_you list finds 7.0% in 20 suggestions, 2.0 points more than the best baseline" in others["text"]
    assert "item-kNN" in others["text"], "the parts of our own list are no rivals"
    of_towers = table_of("new", [], row("two-tower", 0.06, None), rows[3], row("champion", 0.055, 0.005))
    assert "than the two-tower that is served now" in standing(retrieval_report(), of_towers)[1]["text"]
    assert drawn_in_cuts(retrieval_report(), table) == ["for_you", "champion", "two-tower", "item-kNN"]


def test_for_whom_when_intervals_do_not_meet_then_the_groups_are_named() -> None:
    slices = [
        cut("up to 9 events", 0.09, 0.05),
        cut("over 9 events", 0.051, 0.05),
        cut("rare: the last fifth of events", 0.02, 0.04, group="Item popularity"),
        cut("everybody", 0.5, 0.1, num_users=990),
        cut("dormant", 0.9, 0.1, group="Customer lifecycle", num_users=2),
    ]
    works, fails = for_whom(retrieval_report(), table_of("new", slices))
    assert works["text"] == (
        "It works best for customers with up to 9 events (9.0%, next best 5.0%), among items new to the customer."
    )
    assert fails["text"] == "It falls behind for rare items (2.0%, best 4.0%), among items new to the customer."
    assert (works["kind"], fails["kind"]) == ("better", "worse")


def test_for_whom_when_intervals_meet_then_nothing_is_claimed() -> None:
    works, fails = for_whom(retrieval_report(), table_of("all", [cut("a", 0.052, 0.05), cut("b", 0.02, 0.019)]))
    assert works["text"].endswith("with repeats counted, though not beyond their intervals.")
    assert fails["text"] == "It is clearly behind in no group; it finds least, 2.0%, for customers with b."
    assert (works["kind"], fails["kind"]) == ("even", "even")


def test_in_short_when_there_are_baselines_alone_then_it_says_nothing() -> None:
    rows = [row("item-kNN", 0.05, None), row("popularity", 0.02, 0.03)]
    assert in_short(retrieval_report(ours=None, tables=[table_of("all", [], *rows)])) == []


def test_list_qualities_when_a_model_lacks_one_then_that_column_is_left_out() -> None:
    rows = [row("two-tower", 0.06, None), row("item-kNN", 0.05, 0.01)]
    rows[0]["lists"]["coverage@20"], rows[0]["lists"]["popularity_lift@20"] = 0.6, -0.4
    del rows[1]["lists"]["diversity@20"]
    found = list_qualities(table_of("new", [], *rows))
    assert found is not None
    names = [column["name"] for column in found["columns"]]
    assert names == ["Coverage", "Gini", "Novelty", "Popularity lift", "Miscalibration"]
    assert found["rows"][0]["cells"][0] == {"text": "60.0%", "share": 1.0}
    assert found["rows"][1]["cells"][0] == {"text": "30.0%", "share": 0.5}
    assert found["rows"][0]["cells"][3] == {"text": "−40%", "share": None}


def test_retrieval_page_when_a_report_is_older_then_it_is_still_written(tmp_path: Path) -> None:
    report = retrieval_report(learning_curve=[])
    del report["training"]
    for table in report["tables"]:
        for one in table["rows"]:
            one.pop("cost", None)
            one["lists"] = {"coverage@20": 0.3}
    write_retrieval_page(tmp_path / "page.html", report)
    assert "what it costs" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("lead", "balanced", "expected"),
    [
        (0.01, True, "would raise what slot home earns, to an estimated 50.0 clicks per 1,000 showings; it got 40.0"),
        (-0.01, True, "would lower what slot home earns, to an estimated 50.0"),
        (0.001, True, "cannot be told apart from what slot home showed"),
        (0.01, False, "This log cannot tell what the two-tower would have earned in slot home"),
    ],
)
def test_policy_title_when_estimates_differ_then_it_says_how_surely(lead: float, balanced: bool, expected: str) -> None:
    report = policy_report()
    report["policies"][0]["lead"] = {"doubly_robust": around(lead)}
    report["policies"][0]["checks"]["balanced"] = balanced
    assert expected in policy_title(report)


def test_demand_page_when_nothing_was_held_out_then_it_still_shows_what_lies_ahead(tmp_path: Path) -> None:
    write_demand_page(tmp_path / "page.html", demand_report(models=[], pit=None))
    assert "no window was held out" in (tmp_path / "page.html").read_text()


def test_render_when_a_name_is_missing_then_it_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("retrieval.html", report={})


def test_figure_when_titles_need_escaping_then_they_are() -> None:
    with drawing(1) as (figure, axes):
        axes.set_xlabel("a < b")
        svg = to_svg(figure, title='5" <b>', description="x & y")
    assert "<title>5&quot; &lt;b&gt;</title><desc>x &amp; y</desc>" in svg
    assert "a &lt; b" in svg


def test_numbers_when_written_then_percent_and_points_are_signed_and_rounded() -> None:
    assert (percent(0.07194), points(0.012), points(-0.012)) == ("7.2%", "+1.2", "−1.2")
