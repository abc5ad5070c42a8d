"""Marks on what is made: that a mouth was altered, by what, from what; written for machines, read back for people."""
