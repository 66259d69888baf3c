"""What everything else stands on: errors, files, threads, measures, optional libraries."""
