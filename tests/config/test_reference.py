"""The reference page is made from the schema, and the schema reaches every setting."""

from dataclasses import fields

from mcpproxy.config.reference import page
from mcpproxy.config.schema import FileModel, RefreshModel, ServerModel
from mcpproxy.core.policy import RefreshPolicy


def test_every_key_is_explained_on_the_page() -> None:
    lines = page()
    for model in (FileModel, ServerModel, RefreshModel):
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in lines
            assert field.description, f"{name} has no description"


def test_every_number_of_the_refresh_policy_is_a_setting() -> None:
    assert set(RefreshModel.model_fields) == {field.name for field in fields(RefreshPolicy)}
