"""What is published and pinned: manifests, artifacts, locks, and what fits what."""
