"""The settings in force as rows: what `penstock config` prints and the console shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.setting_fields import SECRET_NAMES, Settings, is_live
from penstock.settings import DEFAULT_SOURCE, shown

Plain = str | int | float | bool | list[str] | None
# A program made the settings itself, as tests do: then nobody knows more of it.
_PROGRAM = "given by the program"


@dataclass(slots=True, frozen=True)
class SettingRow:
    """One setting: its value as JSON can hold it, secrets masked, and where it comes from."""

    name: str
    value: Plain
    source: str
    live: bool
    secret: bool
    description: str

    @property
    def words(self) -> str:
        """Give the value as people read it."""
        if self.value is None:
            return "not set"
        if isinstance(self.value, list):
            return ", ".join(self.value) or "none"
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)

    @property
    def change(self) -> str:
        """Say what a change of it takes."""
        return "is live" if self.live else "needs a restart"

    @property
    def unset(self) -> bool:
        """Say whether it has no value."""
        return self.value is None

    @property
    def changed(self) -> bool:
        """Say whether somebody has set it."""
        return self.source != DEFAULT_SOURCE


def setting_rows(
    settings: Settings, sources: Mapping[str, str] | None = None
) -> tuple[SettingRow, ...]:
    """Give every setting in its usual order."""
    if sources is None:
        sources = dict.fromkeys(settings.model_fields_set, _PROGRAM)
    return tuple(
        SettingRow(
            name,
            shown(settings, name),
            sources.get(name, DEFAULT_SOURCE),
            is_live(name),
            name in SECRET_NAMES,
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    )
