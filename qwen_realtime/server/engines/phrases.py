"""A few dozen everyday phrases in English, Spanish, French, German and Chinese: what is left without a translator."""

from __future__ import annotations

import re

LANGUAGES = ("en", "es", "fr", "de", "zh")

_TABLE = """
hello | hola | bonjour | hallo | 你好
good morning | buenos días | bonjour | guten Morgen | 早上好
good afternoon | buenas tardes | bon après-midi | guten Tag | 下午好
good evening | buenas noches | bonsoir | guten Abend | 晚上好
good night | buenas noches | bonne nuit | gute Nacht | 晚安
goodbye | adiós | au revoir | auf Wiedersehen | 再见
see you tomorrow | hasta mañana | à demain | bis morgen | 明天见
thank you | gracias | merci | danke | 谢谢
thank you very much | muchas gracias | merci beaucoup | vielen Dank | 非常感谢
please | por favor | s'il vous plaît | bitte | 请
you are welcome | de nada | de rien | gern geschehen | 不客气
excuse me | perdone | excusez-moi | entschuldigen Sie | 请问
i am sorry | lo siento | je suis désolé | es tut mir leid | 对不起
yes | sí | oui | ja | 是
no | no | non | nein | 不
how are you | cómo está usted | comment allez-vous | wie geht es Ihnen | 你好吗
i am fine | estoy bien | je vais bien | es geht mir gut | 我很好
what is your name | cómo se llama usted | comment vous appelez-vous | wie heißen Sie | 你叫什么名字
nice to meet you | mucho gusto | enchanté | freut mich | 很高兴认识你
do you speak english | habla usted inglés | parlez-vous anglais | sprechen Sie Englisch | 你会说英语吗
i do not understand | no entiendo | je ne comprends pas | ich verstehe nicht | 我不明白
could you repeat that | puede repetirlo | pouvez-vous répéter | können Sie das wiederholen | 请再说一遍
speak more slowly | hable más despacio | parlez plus lentement | sprechen Sie langsamer | 请说慢一点
how much is it | cuánto cuesta | combien ça coûte | wie viel kostet das | 多少钱
what time is it | qué hora es | quelle heure est-il | wie spät ist es | 现在几点
where is the toilet | dónde está el baño | où sont les toilettes | wo ist die Toilette | 洗手间在哪里
where is the station | dónde está la estación | où est la gare | wo ist der Bahnhof | 车站在哪里
where is the hotel | dónde está el hotel | où est l'hôtel | wo ist das Hotel | 酒店在哪里
i need a doctor | necesito un médico | j'ai besoin d'un médecin | ich brauche einen Arzt | 我需要医生
i need help | necesito ayuda | j'ai besoin d'aide | ich brauche Hilfe | 我需要帮助
i would like a coffee | quisiera un café | je voudrais un café | ich möchte einen Kaffee | 我想要一杯咖啡
i would like some water | quisiera agua | je voudrais de l'eau | ich möchte etwas Wasser | 我想要水
the bill please | la cuenta, por favor | l'addition, s'il vous plaît | die Rechnung bitte | 请结账
the weather is nice today | hoy hace buen tiempo | il fait beau aujourd'hui | das Wetter ist heute schön | 今天天气很好
i am lost | estoy perdido | je suis perdu | ich habe mich verlaufen | 我迷路了
welcome | bienvenido | bienvenue | willkommen | 欢迎
have a good trip | buen viaje | bon voyage | gute Reise | 一路顺风
let us start | empecemos | commençons | fangen wir an | 我们开始吧
"""

_ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in _TABLE.strip().splitlines()]


def _key(phrase: str) -> str:
    return " ".join(re.findall(r"\w+", phrase.lower()))


_BY_LANGUAGE = {
    language: {_key(row[column]): row for row in reversed(_ROWS)} for column, language in enumerate(LANGUAGES)
}
_SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]*")


def translate(text: str, source: str, target: str) -> str | None:
    """Return the translation of a text whose every sentence is in the table, or ``None``."""
    if source not in LANGUAGES or target not in LANGUAGES:
        return None
    column = LANGUAGES.index(target)
    sentences: list[str] = []
    for sentence in _SENTENCE.findall(text):
        key = _key(sentence)
        if not key:
            continue
        row = _BY_LANGUAGE[source].get(key)
        if row is None:
            return None
        sentences.append(_finish(row[column], sentence.strip()[-1], target))
    return ("" if target == "zh" else " ").join(sentences) if sentences else None


def _finish(phrase: str, last: str, target: str) -> str:
    """Return a phrase with a capital and the mark that ended its source, if one did."""
    mark = {"。": ".", "！": "!", "？": "?"}.get(last, last)
    phrase = phrase[0].upper() + phrase[1:]
    if mark not in ".!?":
        return phrase
    if target == "zh":
        return phrase + {".": "。", "!": "！", "?": "？"}[mark]
    opening = {"?": "¿", "!": "¡"}.get(mark, "") if target == "es" else ""
    return f"{opening}{phrase}{mark}"
