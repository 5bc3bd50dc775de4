"""The tokenizers of `text_towers.py`, and the texts that they are checked with."""

import io
import json
import sys
from pathlib import Path

import sentencepiece
import transformers
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer

FIXTURES = Path(sys.argv[1])
TEXTS = ["a photo of a cat", "A Bird, standing on one leg!", "一张猫的照片", "صورة لقطة على الأريكة", "बिल्ली की एक तस्वीर",
         "фото собаки под дождём 🐶", "", "a red house near the blue lake, " * 20]
SCRIPTS = [
    "一只狗在雪地里奔跑", "北京的天安门广场，2024年", "繁體中文：臺灣的夜市", "猫と犬が公園で遊んでいる", "カタカナとひらがなと漢字", "ｶﾀｶﾅ ﾊﾝｶｸ",
    "고양이 한 마리가 소파에 앉아 있다", "서울의 밤거리", "صورة كلب يركض في الثلج", "مرحبا بالعالم، كيف الحال؟", "اَلْعَرَبِيَّةُ بِالتَّشْكِيلِ", "یک گربه روی مبل",
    "תמונה של כלב בגשם", "שָׁלוֹם עולם", "बर्फ में दौड़ता हुआ कुत्ता", "हिन्दी में एक वाक्य।", "ภาพถ่ายของแมวบนโซฟา", "ภาษาไทยไม่มีช่องว่าง",
    "кошка на диване", "ЁЛКА И ёжик", "Київ, вулиця Хрещатик", "η γάτα στον καναπέ ΣΑΣ", "con mèo trên ghế sofa", "İstanbul'da bir kedi ışık",
    "Straßenbahn über Ångström", "🐱🐶", "👩‍👩‍👧‍👦 family 🇩🇪 flag", "👍🏽 ok ✅ ™ ©", "猫cat고양이кот", "mixed 中文 and عربي and हिन्दी text",
    "x² ½ ﬁ Ⅳ ①", "a\u0301 e\u0302 combining", "zero\u200bwidth\u200djoin", "soft\u00adhyphen", "tab\tnew\nline", "[CLS] [MASK] <mask> </s>",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕋𝕖𝕩𝕥", "ꦲꦏ꧀ꦱꦫ ጤና ይስጥልኝ", "\ue000 private \ufffd", "12,345.67 ٣٤٥ ४५६ 一二三",
]


def cases():
    texts = [case["text"] for name in ("siglip-hf/tokenizer_cases.json", "multilingual/cases.json")
             for case in json.loads((FIXTURES / name).read_text())]
    return texts + SCRIPTS


def corpus():
    return [text for i, text in enumerate(cases() + TEXTS) if i % 5 for _ in range(4)]


# Tokenizers, trained on most of the cases themselves, so that there are pieces of every script and unknown letters too.


def wordpiece(folder, vocab, lowercase, whole=True):
    """BertTokenizer: with tokenizer.json, or `vocab.txt` alone."""
    trainer = BertWordPieceTokenizer(lowercase=lowercase, strip_accents=None)
    trainer.train_from_iterator(corpus(), vocab_size=vocab, min_frequency=2, show_progress=False, limit_alphabet=700)
    if not whole:
        trainer.save_model(str(folder))
        return transformers.BertTokenizer.from_pretrained(folder, model_max_length=32)
    tokenizer = transformers.BertTokenizer(vocab=trainer.get_vocab(), do_lower_case=lowercase, model_max_length=32)
    tokenizer.save_pretrained(folder)
    return tokenizer


def unigram(folder, vocab, whole=True):
    """XLMRobertaTokenizer: with tokenizer.json, or `sentencepiece.bpe.model` alone."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, vocab_size=vocab, model_type="unigram", num_threads=1,
        minloglevel=2, hard_vocab_limit=False, character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(model.getvalue())
    tokenizer = transformers.XLMRobertaTokenizer.from_pretrained(folder, model_max_length=32)
    if whole:
        path.unlink()
        tokenizer.save_pretrained(folder)
    return tokenizer


def byte_level(folder, vocab):
    """RobertaTokenizer: `vocab.json` and `merges.txt`, for a model that has another tokenizer of its own."""
    trainer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer.train_from_iterator(corpus(), vocab_size=vocab, min_frequency=2, show_progress=False, special_tokens=special)
    trainer.save_model(str(folder))
    return transformers.RobertaTokenizer.from_pretrained(folder, model_max_length=32)


def bpe(folder, vocab):
    """NllbTokenizer, which puts a language before every text: `tokenizer.json`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, vocab_size=vocab, model_type="bpe", num_threads=1,
        minloglevel=2, character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(model.getvalue())
    codes = ["eng_Latn", "zho_Hans", "arb_Arab"]
    tokenizer = transformers.NllbTokenizer.from_pretrained(folder, model_max_length=32, extra_special_tokens=codes)
    path.unlink()
    tokenizer.save_pretrained(folder)
    return tokenizer
