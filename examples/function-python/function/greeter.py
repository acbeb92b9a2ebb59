"""Greets by name, with what a layer knows of languages."""

import greetings


def handler(event, context):
    language = event.get("language", "en")
    if language not in greetings.WORDS:
        raise ValueError(f"no greeting in {language}; there are {', '.join(sorted(greetings.WORDS))}")
    print("greeting in", language)
    return {"greeting": greetings.greet(event.get("name", "world"), language), "layer": greetings.__file__}
