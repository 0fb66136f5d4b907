"""What a refused plan or command is told: its own fields, its own units, no reason that is none."""

import json
from typing import Any

import pytest

from shared.errors import RefusedError
from shared.wire import read_alert, read_command, read_plan
from tests.town import alert_document, plan_document


def told(document: object, reader: Any = read_plan) -> str:
    """The words of the refusal."""
    with pytest.raises(RefusedError) as refused:
        reader(document if isinstance(document, bytes) else json.dumps(document).encode())
    return str(refused.value)


def reasons(said: str) -> int:
    """How many reasons there are: each ends with what was given."""
    return said.count("(given ") + said.count("(not given)")


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
            "bake.min: 5 h is more than max, 1.5 h (given '5h')",
        ),
        (plan_document(bake={"max": "5m"}), "bake.min: 10 min is more than max, 5 min (not given)"),
        (
            evidence(bin="1s", ingestion_delay="5m"),
            "evidence.ingestion_delay: 5 min is more than 120 bins",
        ),
        (plan_document(rescale="yes"), "rescale: true or false is allowed (given 'yes')"),
        (plan_document(steps=[float("nan"), 100]), "steps.0: a finite number is allowed"),
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
    assert reasons(said) == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("5%", "steps.0: a percentage such as 5, or {percent: ...} is allowed (given '5%')"),
        (False, "steps.0: a percentage such as 5, or {percent: ...} is allowed (given False)"),
        (-5, "steps.0: more than 0 is allowed (given -5)"),
        ({"percent": 200}, "steps.0.percent: at most 100 is allowed (given 200)"),
        ({}, "steps.0.percent: must be given (not given)"),
        ({"percent": 5, "bake": {"min": "5"}}, "steps.0.bake.min: a duration with its unit"),
        (
            {"percent": 0},
            "steps.0.shadow: must be given, to say how the canary is tried at 0 % (not given)",
        ),
        ({"percent": 5, "shadow": {}}, "steps.0.shadow: is for a step at 0 %, not at 5 %"),
    ],
    ids=str,
)
def test_a_step_is_told_what_it_was_meant_to_be(step: object, words: str) -> None:
    """A number or an object, not both; no name of ours in its place."""
    said = told(plan_document(steps=[step, 100]))

    assert words in said
    assert reasons(said) == 1


def test_several_reasons_are_told_and_a_list_is_not_too_short_for_its_bad_parts() -> None:
    said = told(evidence(rules=[{"name": "e", "bad": "faild"}, {"name": "f g", "bad": "failed"}]))

    assert "evidence.rules.0.bad: " in said
    assert "evidence.rules.1.name: " in said
    assert said.count("(given ") == 2


def test_a_plan_in_a_command_is_told_where_in_the_command() -> None:
    said = told({"action": "start", "plan": evidence(bin="2h")}, read_command)

    assert said.startswith("not a command: plan.evidence.bin: at most 1h is allowed")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            json.dumps(plan_document())[:-1] + ', "rescale": false, "rescale": true}',
            "rescale: once is allowed (given 2 times)",
        ),
        (
            json.dumps(evidence(rules=[{"name": "e", "bad": "failed"}])).replace(
                '"bad"', '"name": "f", "name": "g", "bad"'
            ),
            "evidence.rules.0.name: once is allowed (given 3 times)",
        ),
        (
            json.dumps(plan_document())[:-1] + ', "guard": 1' + "0" * 4299 + ', "guard": "2m"}',
            "guard: once is allowed (given 3 times)",
        ),
    ],
    ids=["at the top", "below", "one of them a long number"],
)
def test_a_field_that_is_given_twice_is_refused(body: str, words: str) -> None:
    """The last would win, whichever was meant."""
    assert told(body.encode()) == f"not a plan: {words}"


def test_what_is_given_twice_is_told_beside_all_else() -> None:
    body = json.dumps(plan_document(colour="red"))[:-1] + ', "guard": "1m", "guard": 5}'

    said = told(body.encode())

    assert "colour: there is no field" in said
    assert "guard: a duration with its unit" in said
    assert "guard: once is allowed" in said


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, 'action: "start", "promote", "hold", "resume" or "abort" is allowed (not given)'),
        ({"action": "zz"}, "\"abort\" is allowed (given 'zz')"),
        ({"action": ["start"]}, "\"abort\" is allowed (given ['start'])"),
        ([], 'body: action: "start", "promote"'),
        ({"action": "abort", "rollout": "x", "by": ""}, "by: at least 1 characters are needed"),
        ({"action": "abort", "rollout": "x", "reason": "r" * 501}, "reason: at most 500 char"),
        ({"action": "abort", "rollout": None}, "rollout: text is allowed (given None)"),
        ({"action": "abort", "rollout": 5}, "rollout: text is allowed, in YAML in quotes"),
        ({"action": "abort", "rollout": "x", "rollut": "x"}, "rollut: there is no field"),
        (
            {"action": "start", "start": [], "plan": plan_document(steps=["5%", 100])},
            "start: there is no field of this name (given [])",
        ),
        (
            {"action": "start", "start": {"plan": {}}, "plan": plan_document(bake={"min": "x"})},
            "plan.bake.min: a duration with its unit is allowed",
        ),
    ],
    ids=str,
)
def test_a_command_is_told_the_same_way(document: object, words: str) -> None:
    """Names of fields that kinds of commands or steps also have do not lead astray."""
    assert words in told(document, read_command)


def test_a_command_is_not_guessed_either() -> None:
    body = b'{"action": "abort", "rollout": "shop-1", "rollout": "shop-2"}'

    assert told(body, read_command) == "not a command: rollout: once is allowed (given 2 times)"


def test_an_alert_is_taken_whatever_its_context_repeats() -> None:
    """It is Azure's, and an alert lost is worse than one read twice."""
    body = json.dumps(alert_document()).replace(
        '"alertContext": {', '"alertContext": {"a": 1, "a": 2, '
    )

    assert read_alert(body.encode()).fired
