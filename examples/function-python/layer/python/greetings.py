"""What several functions share. A layer is unpacked into /opt, and Python looks into /opt/python."""

WORDS = {"de": "Hallo", "en": "Hello", "es": "Hola", "fr": "Bonjour"}


def greet(name, language):
    return f"{WORDS[language]}, {name}!"
