"""Experts and spaces made: trained, built, published."""
