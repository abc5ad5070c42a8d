"""Many dubs by one command: jobs from a file, a pool of processes, a manifest of what was done."""
