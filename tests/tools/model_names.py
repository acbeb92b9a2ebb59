"""Converts names of a service model to Rust names."""

import re

KEYWORDS = {"type", "match", "ref", "move", "use", "mod", "in", "loop", "enum", "static"}


def words(name):
    """MicrovmImageHooks -> [Microvm, Image, Hooks]"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.replace("MiB", "Mib")).split("_")


def constant(name):
    """MicrovmImageHooks -> MICROVM_IMAGE_HOOKS"""
    return "_".join(words(name)).upper()


def field(name):
    """maxResults -> max_results"""
    snake = "_".join(words(name)).lower()
    return f"r#{snake}" if snake in KEYWORDS else snake


def upper_camel(name):
    """logStream -> LogStream"""
    return name[:1].upper() + name[1:]


def variant(value):
    """CREATE_FAILED -> CreateFailed, X86_64 -> X86_64, IPv4 -> Ipv4"""
    parts = re.split(r"[^A-Za-z0-9]+", value)
    if len(parts) > 1 or value.isupper():
        parts = [part[:1].upper() + part[1:].lower() for part in parts if part]
    text = parts[0][:1].upper() + parts[0][1:]
    for part in parts[1:]:
        text += f"_{part}" if text[-1].isdigit() and part[0].isdigit() else part
    return re.sub(r"^IPv", "Ipv", text).replace("MicroVm", "Microvm")
