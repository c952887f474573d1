"""Where a scan runs: in this process, or on the machines of a cluster; the steps are the same."""
