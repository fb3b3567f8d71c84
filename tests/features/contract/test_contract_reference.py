from pathlib import Path

from features.contract.reference import reference, with_reference
from features.contract.tables import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "data-contract.md"


def test_reference_when_made_then_every_column_of_every_table_stands_in_it() -> None:
    sections = dict(zip(TABLES, reference().split("### ")[1:], strict=True))
    for name, table in TABLES.items():
        assert all(f"| `{column}` |" in sections[name] for column in table.column_names)


def test_data_contract_page_when_tables_change_then_it_is_written_anew() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_reference(page), "run: python -m features.contract.reference docs/data-contract.md"
