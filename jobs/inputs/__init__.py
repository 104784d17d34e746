"""From a board's own tables to the contract: mapping, reading, rules, ids and profile versions."""
