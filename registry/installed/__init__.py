"""What is there: packages, the store, the Hub, catalogues, code plugins."""
