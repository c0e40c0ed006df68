"""What the server does under faults, measured on a simulated cluster; never installed."""
