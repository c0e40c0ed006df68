"""How Proxmox VE is spoken to: nothing here knows what a tool or an assistant is.

From the bottom up:

* fields: identifiers as types; nothing unvalidated becomes a path segment
* connection: where the cluster is and how to log in, as one frozen value
* errors: what can go wrong, in words a reader can act on
* meanings: which answer is which of these
* answers: the shapes that an answer may have
* gate: which changes may leave at all, by method and path; which of them lose something
* permissions: what a token may do, as Proxmox says
* rules: allow and protect, held against what a guest is
* oversight: who confirms a loss, and who writes a change down
* tls: which certificates are believed, and what an unknown one looks like
* transport: what is raised when no answer comes, and whether the request had left by then
* session: the requests session under proxmoxer; tickets, no redirects, honest bodies
* bridge: blocking proxmoxer on one side, the event loop on the other
* bucket: how fast requests may follow each other
* bounds: the rules held against every request and every list
* guard: one call's way to the cluster; retry, rate limit, and what was sent
* locate: a guest's id or name to the node and kind where it lives now
* guestconfig: the keys of a guest's configuration, and what belongs together
* condition: what a guest is doing right now
* stores: storages and the backups on them
* ha: what a high-availability request really led to
* upid: task ids, parsed, followed to the end, judged
"""
