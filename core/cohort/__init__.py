"""Cohorts: tables in, tables out, splits."""
