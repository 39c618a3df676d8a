"""The paper's side: executing notebooks, reproduced against published figures, the report, and make's commands."""
