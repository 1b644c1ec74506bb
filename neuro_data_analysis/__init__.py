"""From recordings to tables: reading, areas, masks, evolution statistics, simulation."""
