"""Which version of a topic is newer."""


def version_order(version: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Sorts versions as people read them: numbers by value, 1.10 after 1.9, and 2.0-beta before 2.0."""
    main, _, early = version.partition("-")
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in main.split(".")]
    return parts, not early, early
