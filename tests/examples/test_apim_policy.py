"""The policy for API Management: well-formed, and its sample is one that Linnet reads.

There is no API Management here: that the gateway compiles these expressions, and what its objects
then hold, is not checked. The shape of the sample is, with values as the documentation has them.
"""

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from examples.sampling import CREDENTIALS
from shared.samples import read_sample
from tests.given import PROFILE

POLICY = Path(__file__).resolve().parents[2] / "examples" / "apim-policy.xml"
# What each expression of the template gives in the gateway, as JSON.
VALUES = {
    "context.RequestId.ToString()": '"9d1bd4ff-6a1f-4bd0-8b7f-0e6a5f2b9f6d"',
    '"{{linnet-profile}}"': f'"{PROFILE}"',
    'context.Timestamp.ToString("o")': '"2026-03-01T10:20:30.1234567Z"',
    "context.Request.Method": '"GET"',
    "url.Path + url.QueryString": '"/prices?currency=EUR"',
    "asked": '{"Accept": "application/json"}',
    "context.Response.StatusCode": "200",
    "got": '{"Content-Type": "application/json"}',
    "context.Elapsed.TotalMilliseconds": "12.5",
    '(string)context.Variables["linnet-body"]': f'"{base64.b64encode(b"[1]").decode()}"',
}


@pytest.fixture(scope="module")
def policy() -> ET.Element:
    """The document as a strict parser reads it."""
    return ET.fromstring(POLICY.read_text(encoding="utf-8"))  # noqa: S314  # a file of ours


def element(policy: ET.Element, path: str) -> ET.Element:
    found = policy.find(path)
    assert found is not None, path
    return found


def evaluated(template: str) -> str:
    """The JSON that nested `new JObject(new JProperty(name, value), ...)` stands for."""
    text = template
    for expression in sorted(VALUES, key=len, reverse=True):
        written = re.escape(expression)
        text, times = re.subn(rf'(", ){written}(\))', lambda m: f"{m[1]}\0{m[2]}", text)
        assert times == 1, f"{expression} is there {times} times"
        text = text.replace("\0", VALUES[expression].replace("(", "").replace(")", ""))
    before = ""
    while text != before:
        before = text
        text = re.sub(r'new JProperty\(("\w+"), ([^()]*)\)', r"\1: \2", text)
        text = re.sub(r"new JObject\(([^()]*)\)", r"{\1}", text)
    return text


def test_the_sample_of_the_policy_is_one_that_linnet_reads(policy: ET.Element) -> None:
    """Every expression of the template in its place, and none that this test does not know."""
    body = element(policy, ".//send-one-way-request/set-body").text or ""
    template = re.search(r"return (new JObject\(.*\))\.ToString\(\);", body, re.DOTALL)
    assert template

    posted = read_sample(evaluated(template[1]).encode())

    sample = posted.sample
    assert sample.profile == PROFILE
    assert (sample.request.method, sample.request.path) == ("GET", "/prices?currency=EUR")
    assert sample.request.headers == {"accept": "application/json"}
    assert (sample.reply.status, sample.reply.body) == (200, b"[1]")
    assert (sample.reply.elapsed_ms, sample.at_s) == (12.5, 1772360430.123456)


def test_the_policy_leaves_the_same_credentials_out_as_the_middleware(policy: ET.Element) -> None:
    """One list in two languages; both headers' loops look at it."""
    body = element(policy, ".//send-one-way-request/set-body").text or ""
    listed = re.search(r"var credentials = (.*?);", body, re.DOTALL)
    assert listed
    words = "".join(re.findall(r'"([^"]*)"', listed[1]))

    assert set(words.split()) == CREDENTIALS
    assert words.startswith(" ")
    assert words.endswith(" ")
    assert body.count("if (!credentials.Contains(") == 2


def test_the_request_of_the_policy_waits_for_nobody_and_shows_its_key(policy: ET.Element) -> None:
    """One way, bounded in time, in the order of elements that the gateway wants."""
    request = element(policy, "./outbound//send-one-way-request")

    assert request.attrib == {"mode": "new", "timeout": "5"}
    order = ["set-url", "set-method", "set-header", "set-header", "set-body"]
    assert [child.tag for child in request] == order
    assert request.findtext("set-url") == "{{linnet-url}}/api/samples"
    assert request.findtext("set-header[@name='x-functions-key']/value") == "{{linnet-key}}"


def test_the_policy_draws_few_reads_copies_and_never_a_replay(policy: ET.Element) -> None:
    """The body is read with preserveContent, after the draw; marked requests are not drawn."""
    drawn, body = (each.attrib for each in policy.findall(".//set-variable"))
    guard = element(policy, "./outbound/choose/when")

    assert "< {{linnet-share}}" in drawn["value"]
    assert '!context.Request.Headers.ContainsKey("x-linnet-shadow")' in drawn["value"]
    assert "preserveContent: true" in body["value"]
    assert "Body" not in drawn["value"]
    assert guard.attrib["condition"] == '@((bool)context.Variables["linnet-drawn"])'
    assert element(guard, "./set-variable").attrib is body


def test_brackets_of_the_expressions_are_balanced(policy: ET.Element) -> None:
    """The least that a compiler would ask."""
    texts = [value for each in policy.iter() for value in each.attrib.values()]
    texts += [each.text or "" for each in policy.iter()]
    for text in filter(lambda text: text.startswith("@"), texts):
        bare = re.sub(r'"[^"]*"', "", re.sub(r"\{\{[\w-]+\}\}", "1", text))
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), text
