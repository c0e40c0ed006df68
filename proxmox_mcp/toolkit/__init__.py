"""What a tool is, whatever it does.

From the bottom up:

* text: words from the cluster, made safe to show
* results: what a tool answers with; typed, compact, paged
* schema: slim schemas, and argument errors as sentences
* needs: which privilege a tool needs on Proxmox
* declare: one word at each tool says its effect
* policy: what an assistant may do here
* audit: the trail of changes; tampering: what was done to it since
* overseer: what is lost is confirmed, what is changed is written down
* elicitation: how a person is asked
* outcome: how a change ended
* bind: a declared tool becomes one that the MCP SDK can call
"""
