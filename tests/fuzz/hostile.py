"""Values that have broken parsers before, and values that nearly fit a plan, a command or an alert.

Plain ones are Python's; TOKENS are JSON texts that no Python value prints as.
"""

from collections.abc import Mapping
from copy import deepcopy
from random import Random
from typing import Any

from tests.given import PROFILE, WORKSPACE

LONG = 100_000

TOKENS = (
    "9" * LONG,
    "9" * 4301,
    "-" + "9" * 4300,
    "0." + "1" * LONG,
    "1" + "0" * 400 + ".0",
    "1e400",
    "1e-400",
    "1E+2",
    "-0",
    "1.0000000000000000000001",
    "01",
    "+1",
    ".5",
    "0x10",
    "undefined",
    "nul",
    "'single'",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u12"',
    '"\\x41"',
    '"raw \n line end"',
    "[" * LONG,
    "[" * 190 + "]" * 190,
    "[" * LONG + "]" * LONG,
    '{"a":' * 500 + "1" + "}" * 500,
    "[" + "0," * LONG + "0]",
    "[" + "{}," * (LONG // 2) + "{}]",
    "[" + ",".join(["5"] * 30) + "]",
    "{" + ",".join(f'"{n:x}":0' for n in range(20_000)) + "}",
    '{"a":1,"a":2}',
    "/* note */ 1",
    "",
)
# The tokens that are long to parse are taken rarely: they teach little and cost much.
HEAVY = tuple(token for token in TOKENS if len(token) > 1000)
LIGHT = tuple(token for token in TOKENS if len(token) <= 1000)

STRINGS = (
    "",
    " ",
    "\0",
    "\n",
    "\ufeff",
    "\ud800",
    "\udfff\ud800",
    "x\ny: forged (given 1)",
    "\x1b[2J\x07",
    "\u202egnp",
    "\u0130\u0131\u017f\u212a",
    "ß",
    "e\u0301",
    "\U0001f424",
    "a" * 62,
    "a" * 63,
    "a" * 64,
    "é" * 260,
    "a" * 261,
    "a" * 501,
    "\x01" * 2000,
    "a" * 2001,
    "../x",
    "a/b",
    "a%2Fb",
    "'; drop",
    "{0}{by}%s",
    "__class__",
    "null",
    "NaN",
)
LONG_STRINGS = ("k" * LONG, "\n" * 1000, "é" * LONG, '"\\' * 1000)

NUMBERS: tuple[int | float | bool | None, ...] = (
    0,
    1,
    -1,
    5,
    10,
    50,
    100,
    0.1,
    0.05,
    0.15,
    99.9,
    99.95,
    100.0,
    100.1,
    1e-9,
    5e-324,
    1.7976931348623157e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**53 + 1,
    -(2**63),
    2**64,
    10**4000,
    True,
    False,
    None,
)

# What the fields may hold, at the edges and just beyond.
TIMES = (
    *("0s", "1ms", "0.001ms", "1s", "2s", "59.999s", "60s", "1m", "10m", "1h", "3600s", "1d", "7d"),
    *(
        "14d",
        "14.001d",
        "999999999d",
        "9999999999s",
        "1e3s",
        "-1s",
        "1 s",
        "10m\n",
        "\u0661\u0660m",
        "0.5h",
    ),
)
SHARES = (
    "1%",
    "0.000001%",
    "0%",
    "5%",
    "20%",
    "20.000001%",
    "500%",
    "500.1%",
    "\u0665%",
    "1",
    "1 %",
)
POINTS = ("0.1pp", "50pp", "50.1pp", "0pp", "999pp", "0.000001pp", "1")
STEPS: tuple[Any, ...] = (
    *(1, 2, 5.5, 99.9, 0.1, 100, 0, 0.15, 100.5, {"percent": 5}, {"percent": 5, "gate": "manual"}),
    *({"percent": 5, "bake": {"min": "1s", "max": "2s"}}, {"percent": 100, "bake": {}}, {}),
)
BAKES: tuple[Any, ...] = ({}, {"min": "0s", "max": "1s"}, {"min": "1h", "max": "1m"}, {"max": "1d"})
RULES: tuple[Any, ...] = (
    *({"name": "slow", "bad": {"slower_than": "800ms"}}, {"name": "errors", "bad": "failed"}),
    {"name": "n", "bad": {"slower_than": "0s"}},
    {"name": "p", "bad": {"slower_than": "p99"}},
    {"name": "c", "bad": {"result_code": "5.."}},
)
CODES = (
    "5..",
    "4(08|29)",
    "[^2]+",
    "a" * 64,
    "a" * 65,
    "(",
    "a++",
    "[[",
    "(?=a)",
    "a||b",
    "5\\d",
    "'",
)
CLIENTS = ("UserId", "ClientIP", "Properties.x", "Properties.", "userid", "UserId\n", "", None)
GAUGES: tuple[Any, ...] = (
    {"name": "g", "table": "AppMetrics", "metric": "m"},
    {"name": "h", "table": "AppPerformanceCounters", "metric": "% x", "above": "999%"},
    {"name": "i", "table": "AppTraces", "metric": "", "above": "0%"},
)
MATCHES: tuple[Any, ...] = (
    *({"alert": "x"}, {"alert": "a" * 2000, "target": "b" * 2000, "severity_at_most": 4}),
    {"alert": "", "severity_at_most": -1},
)
# Some are a document's own stable endpoint in another case.
LABELS = ("x", "BLUE", "Stable", "2.3.9", "shop-1.0.0", "é" * 260, "a" * 261, "\n", "ß", "SS")
MOMENTS = (
    *("2026-11-22T10:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-W01-1"),
    *("9999-12-31T23:59:59-23:59", "2026-11-22", "2026-11-22T24:00:00", "", None),
)
LISTS: tuple[Any, ...] = (
    [],
    [[]],
    [{}],
    [1, 100],
    [100],
    [5, 1, 100],
    [1, 1, 100],
    [0.1, 99.9, 100],
)
PLACES = (PROFILE, PROFILE.upper(), PROFILE.replace("s", "\u017f"), PROFILE + "/x", PROFILE + "\n")
DIMENSIONS: tuple[Any, ...] = (
    *([{"name": "n", "value": "v"}], [{"name": {}, "value": [1]}], [None, "x", []]),
    [{"name": "n", "value": 1e308}],
)

FITTING: Mapping[str | int, tuple[Any, ...]] = {
    **dict.fromkeys(("min", "max", "patience", "guard", "name_servers"), TIMES),
    **dict.fromkeys(("bin", "ingestion_delay", "lookback"), TIMES),
    "slower_than": (*TIMES, "p50", "p95", "p99", "p90", "P95", "p"),
    **dict.fromkeys(("false_rollback", "false_promotion", "inflation"), SHARES),
    **dict.fromkeys(("unsure", "blind", "action"), ("hold", "retreat", "abort", "resume", "HOLD")),
    **dict.fromkeys(("name", "rollout"), ("a", "A.b_c-1", "a" * 63, "a" * 64, ".a", "a/b", "é")),
    **dict.fromkeys(("stable", "canary", "role", "by"), LABELS),
    **dict.fromkeys(("firedDateTime", "resolvedDateTime"), MOMENTS),
    **dict.fromkeys(("rescale", "dry_run"), (True, False, 0, "true", None)),
    "tolerance": POINTS,
    "steps": (
        [1, 100],
        [0.1, 0.2, 0.3, 100],
        [*range(1, 20), 100],
        [*range(1, 101)],
        *LISTS,
    ),
    "percent": (0.1, 5, 5.5, 99.9, 100, 0, 0.05, 100.1, "5"),
    "gate": ("auto", "manual", "Auto"),
    "bake": BAKES,
    "rules": (list(RULES[:2]), [RULES[0]] * 2, [RULES[2]], []),
    "bad": (
        *("failed", "slow", {}, {"slower_than": "1h"}, {"slower_than": "3601s"}),
        *({"slower_than": "p50"}, {"slower_than": "p90"}, {"result_code": "5.."}),
        {"slower_than": "1s", "result_code": "5.."},
    ),
    "result_code": CODES,
    "client": CLIENTS,
    "gauges": (list(GAUGES[:2]), [GAUGES[0]] * 2, [GAUGES[0]] * 6, [GAUGES[2]], []),
    "metric": LABELS,
    "above": SHARES,
    "risk": ({}, {"inflation": "500%", "tolerance": "50pp"}, {"false_rollback": "0.000001%"}),
    "rollback_on": (list(MATCHES[:2]), [MATCHES[1]] * 20, [MATCHES[0]] * 21, [MATCHES[2]], []),
    "severity_at_most": (0, 4, 5, -1, 1.0, True, None),
    "from_step": (1, 20, 21, 0, 1.0, True),
    "reason": ("", "a" * 500, "a" * 501, "\u2028", "\x1b[31m"),
    "profile": PLACES,
    "workspace": (WORKSPACE, WORKSPACE.upper(), "-" * 36, WORKSPACE[:-1]),
    "table": ("AppRequests", "a" * 63, "a" * 64, "T|x"),
    "column": ("AppRoleName", "Properties.x", "Properties.", "a b"),
    "target": ("/t", "t" * 2000, "t" * 2001, None),
    "severity": ("Sev0", "Sev4", "Sev5", "sev1", "Sev0\n", None),
    "monitorCondition": ("Fired", "Resolved", "fired"),
    "alertRule": ("", "a", "İ", "a" * 2000, None),
    "alertRuleID": ("", "/a/B", "ß", None),
    "alertTargetIDs": ([], ["x"] * 1000, ["x"] * 1001, ["/A", "/a"], None),
    "alertContext": (None, [], 1, {"condition": {"allOf": [{"dimensions": DIMENSIONS[0]}] * 200}}),
    "condition": ({"allOf": [{"dimensions": kind} for kind in DIMENSIONS]}, {"allOf": {}}, []),
    "dimensions": DIMENSIONS,
}
NEARLY: tuple[Any, ...] = tuple(value for values in FITTING.values() for value in values)

KEYS = (
    *(name for name in FITTING if isinstance(name, str)),
    *("plan", "evidence", "arms", "alert", "schemaId", "data", "essentials", "alertId", "allOf"),
    *("value", "forse", "StepIn"),
)


def value(dice: Random) -> Any:
    """A hostile or nearly fitting plain value."""
    kind = dice.random()
    if kind < 0.6:
        return fresh(dice.choice(NEARLY))
    if kind < 0.8:
        return dice.choice(NUMBERS)
    return dice.choice(STRINGS if kind < 0.998 else LONG_STRINGS)


def fitting(dice: Random, field: str | int) -> Any:
    """A value that this field may have, or nearly; that a step may have, for an entry of a list."""
    return fresh(dice.choice(FITTING.get(field, STEPS)))


def fresh(value: Any) -> Any:
    """A value nobody else holds: the next change may be inside it."""
    return deepcopy(value) if isinstance(value, list | dict) else value


def key(dice: Random) -> str:
    """A name of a field: mostly one that exists somewhere."""
    kind = dice.random()
    if kind < 0.8:
        return dice.choice(KEYS)
    return dice.choice(STRINGS if kind < 0.998 else LONG_STRINGS)


def token(dice: Random) -> str:
    """A JSON text, or nearly one."""
    return dice.choice(HEAVY if dice.random() < 0.02 else LIGHT)
