"""What people can ask for by a command: the table of contents, from the whole to one refusal."""

from proxmox_mcp.prompts import (
    backup_audit,
    capacity_review,
    diagnose_guest,
    health_check,
    safe_upgrade,
    why_denied,
)
from proxmox_mcp.prompts.declare import PromptSpec

PROMPTS: tuple[PromptSpec, ...] = (
    health_check.health_check,
    capacity_review.capacity_review,
    backup_audit.backup_audit,
    diagnose_guest.diagnose_guest,
    safe_upgrade.safe_upgrade,
    why_denied.why_denied,
)
