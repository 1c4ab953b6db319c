"""What there is: states, flow definitions, identifiers. Plain frozen data, no behaviour that needs the outside."""
