"""From free text to terms: normalising, n-gram lookup in a taxonomy, term ids."""
