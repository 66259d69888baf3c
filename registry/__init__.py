"""Experts and spaces as packages: found, checked, combined, built."""
