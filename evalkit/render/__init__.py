"""From a comparison to tables, cards, pages and CI formats."""
