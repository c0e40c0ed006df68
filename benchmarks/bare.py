"""The least that a server on the same SDK can be: one tool that does nothing. A yardstick."""

from mcp.server.mcpserver import MCPServer

server: MCPServer[None] = MCPServer("bare", version="1")


@server.tool()
def nothing(number: int) -> str:
    """Return the number."""
    return str(number)


if __name__ == "__main__":
    server.run("stdio")
