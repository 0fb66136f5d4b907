"""What a refused plan or command is told: its own fields, its own units, no reason that is none."""

import json
from typing import Any

import pytest

from shared.errors import RefusedError
from shared.planfile import PlanIn
from shared.wire import read_alert, read_command, read_plan
from tests.town import alert_document, plan_document


def told(document: object, reader: Any = read_plan) -> str:
    """The words of the refusal."""
    with pytest.raises(RefusedError) as refused:
        reader(document if isinstance(document, bytes) else json.dumps(document).encode())
    return str(refused.value)


def evidence(**changes: Any) -> dict[str, Any]:
    """A plan whose evidence differs."""
    document = plan_document()
    return document | {"evidence": document["evidence"] | changes}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (evidence(risk={"tolerance": "60pp"}), "risk.tolerance: at most 50pp is allowed"),
        (evidence(risk={"inflation": "600%"}), "risk.inflation: at most 500% is allowed"),
        (evidence(risk={"inflation": "1000%"}), "risk.inflation: at most 500% is allowed"),
        (evidence(bin="500ms"), "evidence.bin: at least 1000ms is allowed (given '500ms')"),
        (evidence(bin="2h"), "evidence.bin: at most 1h is allowed (given '2h')"),
        (evidence(bin="7s"), "evidence.bin: whole seconds that divide a day are allowed"),
        (evidence(rules=[]), "evidence.rules: at least 1 must be given (given [])"),
        (evidence(rules="failed"), "evidence.rules: a list is allowed (given 'failed')"),
        (plan_document(bake={"min": "20d"}), "bake.min: at most 14d is allowed (given '20d')"),
        (
            plan_document(bake={"min": "5h", "max": "90m"}),
            "bake.min: must not exceed max, which is 1.5 h (given '5h')",
        ),
        (plan_document(bake="5m"), "bake: an object with fields of its own is allowed"),
        (plan_document(unsure="abort"), "unsure: 'hold' or 'retreat' is allowed (given 'abort')"),
        (plan_document(name="a b"), "name: a name of at most 63 letters, digits,"),
        (plan_document(profile="x"), "Microsoft.Network/trafficManagerProfiles/... is allowed"),
        (plan_document(canary="v\u0000"), "canary: a text of 1 to 260 characters, none of control"),
        (plan_document(stable=2.0), "stable: text is allowed, in YAML in quotes (given 2.0)"),
        (plan_document(colour="red"), "colour: there is no field of this name (given 'red')"),
        (plan_document(steps=[5, 1, 100]), "steps: must rise and end at 100 (given [5, 1, 100])"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_it_is_told_in_the_plans_own_terms(document: object, words: str) -> None:
    """The field, what is allowed in the unit that was given, and what was given; nothing else."""
    said = told(document)

    assert words in said
    assert said.count("(given ") == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("5%", "steps.0: a percentage such as 5, or {percent: ...} is allowed (given '5%')"),
        (False, "steps.0: a percentage such as 5, or {percent: ...} is allowed (given False)"),
        (-5, "steps.0: more than 0 is allowed (given -5)"),
        ({"percent": 200}, "steps.0.percent: at most 100 is allowed (given 200)"),
        ({}, "steps.0.percent: must be given (given {})"),
        ({"percent": 5, "bake": {"min": "5"}}, "steps.0.bake.min: a duration with its unit"),
        ({"percent": 0}, "steps.0.shadow: must say how the canary is tried at 0 % (given None)"),
        ({"percent": 5, "shadow": {}}, "steps.0.shadow: is for a step at 0 %, not at 5 %"),
    ],
    ids=str,
)
def test_a_step_is_told_what_it_was_meant_to_be(step: object, words: str) -> None:
    """A number or an object, not both; no name of ours in its place."""
    said = told(plan_document(steps=[step, 100]))

    assert words in said
    assert said.count("(given ") == 1


def test_several_reasons_are_told_and_a_list_is_not_too_short_for_its_bad_parts() -> None:
    said = told(evidence(rules=[{"name": "e", "bad": "faild"}, {"name": "f g", "bad": "failed"}]))

    assert "evidence.rules.0.bad: " in said
    assert "evidence.rules.1.name: " in said
    assert said.count("(given ") == 2


def test_a_plan_in_a_command_is_told_where_in_the_command() -> None:
    said = told({"action": "start", "plan": evidence(bin="2h")}, read_command)

    assert said.startswith("not a command: plan.evidence.bin: at most 1h is allowed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (json.dumps(plan_document())[:-1] + ', "rescale": false, "rescale": true}', "rescale"),
        (
            json.dumps(evidence(risk={"inflation": "5%"})).replace(
                '"inflation"', '"inflation": "50%", "inflation"'
            ),
            "inflation",
        ),
        (
            json.dumps(plan_document())[:-1] + ', "guard": 1' + "0" * 4299 + ', "guard": "2m"}',
            "guard",
        ),
    ],
    ids=["at the top", "below", "one of them a long number"],
)
def test_a_field_that_is_given_twice_is_refused(body: str, field: str) -> None:
    """The last would win, whichever was meant."""
    said = told(body.encode())

    assert said == f"not a plan: {field}: once is allowed (given twice)"


def test_a_command_is_not_guessed_either() -> None:
    body = b'{"action": "abort", "rollout": "shop-1", "rollout": "shop-2"}'

    assert "rollout: once is allowed (given twice)" in told(body, read_command)


def test_an_alert_is_taken_whatever_its_context_repeats() -> None:
    """It is Azure's, and an alert lost is worse than one read twice."""
    body = json.dumps(alert_document()).replace(
        '"alertContext": {', '"alertContext": {"a": 1, "a": 2, '
    )

    assert read_alert(body.encode()).fired


def patterns(schema: object) -> list[str]:
    """Every pattern of a schema."""
    if isinstance(schema, list):
        return [found for each in schema for found in patterns(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return own + [found for each in schema.values() for found in patterns(each)]


def test_no_pattern_is_all_that_a_refused_text_is_told() -> None:
    """The schema has them for editors; people are told in words."""
    assert len(patterns(PlanIn.model_json_schema())) > 10
    for path in ("name", "profile", "stable", "canary"):
        assert "pattern" not in told(plan_document(**{path: "\n"}))
