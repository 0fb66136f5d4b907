"""Documents have not parted from the code: what is drawn from it, and what speaks of it."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml

from cli.main import app
from shared.core import judge
from shared.core.bodies import Oddity
from shared.core.diff import Kind
from shared.core.judge import Counts
from shared.core.model import Phase, Plan
from shared.core.shadow import SHADOW_RULES, Margins, Sample
from shared.samples import read_sample
from shared.settings import Settings
from shared.wire import Ask, read_command, read_plan

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["state-machine.md", "plan.schema.json", "sample.schema.json"])
def test_the_document_is_what_the_code_says(name: str) -> None:
    """`make docs` mends a failure."""
    assert (ROOT / "docs" / name).read_text() == generator().DOCUMENTS[name]()


README = (ROOT / "README.md").read_text()
SHADOW = (ROOT / "docs" / "shadow.md").read_text()


def block(language: str, document: str = README) -> str:
    """A document's first block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", document, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_plan_in_the_readme_is_a_plan() -> None:
    document = yaml.safe_load(block("yaml").replace("…", "x"))

    assert read_plan(json.dumps(document).encode()).name == "checkout-2.4"


def test_the_message_in_the_readme_is_a_command() -> None:
    said = read_command(block("json").encode())

    assert isinstance(said, Ask)
    assert said.rollout == "shop-1.1"


def test_the_plan_of_the_tour_is_a_plan() -> None:
    document = yaml.safe_load((ROOT / "examples" / "plan.yaml").read_text())

    assert f"linnet hold {read_plan(json.dumps(document).encode()).name}" in README


def test_every_command_of_the_tour_exists() -> None:
    known = {
        info.name or info.callback.__name__ for info in app.registered_commands if info.callback
    }
    named = set(re.findall(r"\.venv/bin/linnet (\w+)", README))

    assert len(named) > 6
    assert named <= known


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"make (demo|up|test|docs)", README)) <= targets
    assert {"demo", "test"} <= targets


def test_every_phase_is_explained() -> None:
    assert all(phase in README for phase in Phase)


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/shadow.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(([^):#]+)\)", text)
    paths = re.findall(r"`((?:shared|controllers|tests|docs)/[a-z_/]+\.(?:py|md|json))`", text)
    base = (ROOT / document).parent

    assert links
    assert not [link for link in links if not (base / link).exists()]
    assert not [path for path in paths if not (ROOT / path).exists()]


def shadow_plan() -> Plan:
    return read_plan(json.dumps(yaml.safe_load(block("yaml", SHADOW))).encode())


def shadow_sample() -> Sample:
    return read_sample(block("json", SHADOW).encode()).sample


def table(heading: str) -> list[list[str]]:
    """The rows of the first table behind a heading of the dark launch's document."""
    found = re.search(rf"## {heading}\n.*?\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", SHADOW, re.DOTALL)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def test_the_plan_of_the_dark_launch_says_what_its_comments_say() -> None:
    step = shadow_plan().steps[0]

    assert step.percent == 0
    assert step.shadow is not None
    assert step.shadow.margins == Margins()
    assert (step.shadow.samples, step.shadow.noise_share, step.shadow.learn) == (500, 0.5, 50)
    assert (step.shadow.timeout_s, step.shadow.log_share) == (10, 0.01)


def test_the_sample_that_is_shown_is_one_for_the_code_and_for_the_schema() -> None:
    schema = json.loads((ROOT / "docs" / "sample.schema.json").read_text())
    jsonschema.validate(json.loads(block("json", SHADOW)), schema)

    assert shadow_sample().profile == shadow_plan().profile


@pytest.mark.parametrize("name", ["plan", "sample"])
def test_a_schema_is_read_the_same_outside_of_python(name: str) -> None:
    """ECMAScript knows no flags within a pattern, and Azure no case in a resource's id."""
    text = (ROOT / "docs" / f"{name}.schema.json").read_text()
    pattern = json.loads(text)["$defs"]["ProfileId"]["pattern"]

    assert "(?i" not in text
    assert re.search(pattern, shadow_sample().profile)
    assert re.search(pattern, shadow_sample().profile.lower())
    assert not re.search(
        pattern, "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/x"
    )


def test_every_odd_body_has_its_row() -> None:
    told = [row[1].strip("`") for row in table("How answers are compared") if row[1]]

    assert sorted(told) == sorted(each for each in Oddity if each)


def test_every_kind_of_difference_is_named() -> None:
    kinds = {Kind.TYPE, Kind.VALUE, Kind.MISSING, Kind.EXTRA, Kind.ORDER, Kind.LENGTH, Kind.BODY}

    assert all(f"`{kind}`" in SHADOW for kind in kinds)


def test_every_rule_has_its_row_with_its_usual_margin() -> None:
    rows = {row[0].strip("`"): row[3] for row in table("The verdict")}

    assert rows == {name: f"{100 * Margins().by_rule()[name]:g}pp" for name in SHADOW_RULES}


def kind(
    samples: float, canary: float, stable: float, allowed: float, bins: int = 20, quiet: int = 0
) -> str:
    """The verdict when stable answers half of the samples again; the rates are of bad answers.

    So many other rules have nothing to say.
    """
    each = samples / bins
    counts = Counts(each / 2, each / 2 * stable, each, each * canary)
    seen = judge.fold(judge.gather(judge.begin(0), [(n, counts) for n in range(bins)]), bins)
    step = judge.Step(next_share=1.0, steps=3, sealed_before=bins)
    rules = {"it": seen} | {f"quiet {n}": judge.begin(0) for n in range(quiet)}
    return judge.weigh(rules, step, judge.Risk(), margins=dict.fromkeys(rules, allowed)).kind


@pytest.mark.parametrize("row", table("How long it takes"), ids=lambda row: row[0])
def test_a_pass_takes_as_many_samples_as_are_said(row: list[str]) -> None:
    """To a hundredth, and the rule of thumb with them."""
    allowed = float(row[0].removesuffix("pp")) / 100
    for said, rate in ((int(row[1]), 0.0), (int(row[2]), allowed / 4)):
        assert kind(said * 1.01, rate, rate, allowed) == "pass"
        assert kind(said * 0.98, rate, rate, allowed) == "unsure"
    assert int(row[1]) * allowed == pytest.approx(4.3, rel=0.02)


def test_a_fail_takes_bins_and_not_samples_alone() -> None:
    assert kind(1e4, 0.1, 0.0, 0.005, bins=18, quiet=2) == "unsure"
    assert kind(1e4, 0.1, 0.0, 0.005, bins=26, quiet=2) == "fail"


def test_every_query_is_named_and_says_what_it_answers() -> None:
    files = sorted((ROOT / "docs" / "kql").glob("*.kql"))

    assert {path.name for path in files} == set(re.findall(r"\(kql/(\w+\.kql)\)", SHADOW))
    assert all("?" in path.read_text().partition("\nlet ")[0] for path in files)
    assert all(path.read_text().startswith("// ") for path in files)


def test_every_setting_that_the_dark_launch_names_exists() -> None:
    ours = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", SHADOW))
    theirs = {name for name in ours if name.startswith(("APPLICATIONINSIGHTS_", "PYTHON_"))}

    assert len(ours - theirs) > 5
    assert {name.lower() for name in ours - theirs} <= Settings.model_fields.keys()


def test_the_numbers_of_the_settings_are_those_of_the_code() -> None:
    usual = Settings.model_fields

    assert f"`SHADOW_PER_S` ({usual['shadow_per_s'].default:g})" in SHADOW
    assert f"`SHADOW_CONCURRENCY` ({usual['shadow_concurrency'].default})" in SHADOW
    assert usual["max_message_bytes"].default == 256 * 1024
