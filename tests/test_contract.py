"""What holds for every tool, whatever it does; one file a tool shows a change in review.

`UPDATE_SNAPSHOTS=1` writes the files anew.
"""

import ast
import inspect
import json
import os
import re
import textwrap
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.types import Tool

from proxmox_mcp import __version__
from proxmox_mcp.server import INSTRUCTIONS
from proxmox_mcp.toolkit import contract
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import TOOLS, TOOLSETS
from tests.conftest import Connect

HANDLER_LINES = 40
CEILING_BYTES = 600 * len(TOOLS)
"""What a model reads of all tools: names, descriptions, parameters."""

CLIENT_CUTS_AT = 2_048

every_tool = pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.name)


async def offered(connect: Connect, mode: str = "auto") -> dict[str, Tool]:
    async with connect(mode=mode) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


def model_facing_bytes(tool: Tool) -> int:
    said = {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
    return len(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())


@every_tool
async def test_what_is_written_down_is_what_the_function_declares(
    connect: Connect, spec: ToolSpec
) -> None:
    file = contract.FOLDER / f"{spec.name}.json"
    now = contract.text(contract.declared(spec))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.write_text(now, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == now
    assert contract.text((await offered(connect))[spec.name]) == now


def test_nothing_is_written_down_of_a_tool_that_is_gone() -> None:
    written = {file.stem for file in contract.FOLDER.glob("*.json")}
    assert written == {spec.name for spec in TOOLS}


@every_tool
def test_a_tool_in_the_making_is_listed_before_it_is_written_down(
    spec: ToolSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "_written", {}.get)

    assert contract.listed(spec) == contract.declared(spec)


async def test_no_tool_is_made_for_the_list(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "bind", lambda *_, **__: pytest.fail("a tool was made"))

    assert list(await offered(connect)) == sorted(spec.name for spec in TOOLS)


async def test_both_eras_see_the_same_sorted_list(connect: Connect) -> None:
    legacy, modern = await offered(connect, "legacy"), await offered(connect, "auto")

    assert list(legacy.values()) == list(modern.values())
    assert list(modern) == sorted(spec.name for spec in TOOLS)


async def test_the_whole_list_stays_under_its_ceiling(connect: Connect) -> None:
    sizes = {name: model_facing_bytes(tool) for name, tool in (await offered(connect)).items()}

    assert sum(sizes.values()) <= CEILING_BYTES, sizes


@every_tool
async def test_a_tool_describes_itself_and_every_parameter(
    connect: Connect, spec: ToolSpec
) -> None:
    tool = (await offered(connect))[spec.name]

    assert re.fullmatch(r"proxmox_[a-z_]{3,40}", tool.name)
    first, *rest = (tool.description or "").splitlines()
    assert 20 <= len(first) <= 100
    assert first.endswith(".")
    assert not rest or rest[0] == ""
    assert len(tool.description or "") < CLIENT_CUTS_AT
    for name, schema in tool.input_schema.get("properties", {}).items():
        assert schema.get("description"), f"{name} is not described"


@every_tool
async def test_a_schema_is_portable_and_closed(connect: Connect, spec: ToolSpec) -> None:
    tool = (await offered(connect))[spec.name]

    assert (tool.output_schema or {}).get("additionalProperties", False) is False
    for schema in filter(None, (tool.input_schema, tool.output_schema)):
        assert schema["type"] == "object"
        assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)
        said = json.dumps(schema)
        assert '"title":' not in said.replace('"title": {', "")
        assert '"null"' not in said
        assert "(?P<" not in said  # Python's own; other clients' engines refuse it


@every_tool
async def test_the_effect_shows_in_the_annotations(connect: Connect, spec: ToolSpec) -> None:
    hints = (await offered(connect))[spec.name].annotations

    assert hints is not None
    assert hints.title == spec.title
    assert hints.read_only_hint is (spec.effect == "reads")
    assert hints.open_world_hint is False
    if spec.effect != "reads":
        assert hints.destructive_hint is (spec.effect == "destroys" or bool(spec.may_lose))


@every_tool
async def test_claude_code_finds_a_tool_by_more_than_its_name(
    connect: Connect, spec: ToolSpec
) -> None:
    meta = (await offered(connect))[spec.name].meta or {}

    assert len(meta["anthropic/searchHint"].split()) >= 6
    assert "anthropic/requiresUserInteraction" not in meta


async def test_claude_code_prompts_for_a_loss_where_the_settings_want_it(connect: Connect) -> None:
    async with connect(client_prompts=True) as client:
        tools = (await client.list_tools()).tools

    prompts = {t.name for t in tools if (t.meta or {}).get("anthropic/requiresUserInteraction")}
    assert prompts == {spec.name for spec in TOOLS if spec.loses}


@every_tool
def test_a_handler_is_short(spec: ToolSpec) -> None:
    [function] = ast.parse(textwrap.dedent(inspect.getsource(spec.handler))).body
    assert isinstance(function, ast.AsyncFunctionDef)
    statements = function.body[1:]
    lines = statements[-1].end_lineno or 0
    assert lines - statements[0].lineno + 1 <= HANDLER_LINES


@every_tool
def test_a_tool_names_the_privilege_it_needs(spec: ToolSpec) -> None:
    assert spec.needs
    for need in spec.needs:
        assert all(
            re.match(r"(Sys|VM|Datastore|SDN|Pool)\.[A-Z]\w+", name) for name in need.privileges
        )


@every_tool
def test_a_tool_that_changes_says_what_it_sends_and_one_that_reads_sends_nothing(
    spec: ToolSpec,
) -> None:
    assert bool(spec.sends) is (spec.effect != "reads")
    assert all(re.match(r"(POST|PUT|DELETE) /", template) for template in spec.sends)


@every_tool
async def test_a_tool_that_changes_can_be_tried_out(connect: Connect, spec: ToolSpec) -> None:
    properties = (await offered(connect))[spec.name].input_schema.get("properties", {})

    assert ("dry_run" in properties) is (spec.effect != "reads")
    assert "confirm" not in properties


@every_tool
async def test_only_where_a_loss_is_agreed_to_by_argument_is_there_one(
    connect: Connect, spec: ToolSpec
) -> None:
    async with connect(confirm="strict") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert ("confirm" in tools[spec.name].input_schema.get("properties", {})) is spec.loses


def test_every_domain_file_is_in_the_table_of_contents() -> None:
    folder = Path(inspect.getfile(TOOLS[0].handler)).parent
    files = {file.stem for file in folder.glob("*.py")} - {"__init__"}

    assert {toolset.name for toolset in TOOLSETS} == files
    assert all(toolset.tools for toolset in TOOLSETS)


async def test_the_instructions_fit_and_name_only_tools_that_exist(connect: Connect) -> None:
    named = set(re.findall(r"proxmox_[a-z_]+", INSTRUCTIONS))

    assert len(INSTRUCTIONS) < CLIENT_CUTS_AT
    assert named <= {spec.name for spec in TOOLS}
    async with connect(mode="legacy") as client:
        assert client.instructions == INSTRUCTIONS


async def test_the_server_says_who_it_is(client: Client) -> None:
    assert client.server_info is not None
    assert (client.server_info.name, client.server_info.version) == ("proxmox", __version__)
