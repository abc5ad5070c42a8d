"""LipSyncNet's own training: folders of videos -> shards -> sync expert -> generator -> a checkpoint."""
