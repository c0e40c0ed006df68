"""What a tool is, whatever it does.

From the bottom up:

* text: words from the cluster, made safe to show
* results: what a tool answers with; typed, compact, paged
* schema: slim schemas, and argument errors as sentences
* declare: one word at each tool says its effect
* bind: a declared tool becomes one that the MCP SDK can call
"""
