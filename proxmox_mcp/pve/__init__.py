"""How Proxmox VE is spoken to: nothing here knows what a tool or an assistant is.

fields      identifiers as types: nothing unvalidated becomes a path segment
connection  where the cluster is and how to log in, as one frozen value
errors      what can go wrong, in words a reader can act on
tls         which certificates are believed, and what an unknown one looks like
session     the requests session under proxmoxer: tickets, pins, no redirects, honest bodies
bridge      blocking proxmoxer on one side, the event loop on the other
guard       one call's way to the cluster: retry, rate limit, and what was sent
locate      a guest's id or name to the node and kind where it lives now
upid        task ids: parsed, followed to the end, judged
ha          what a high-availability request really led to
"""
