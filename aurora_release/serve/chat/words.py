"""What the chat says, in five languages."""

from aurora_release.safety.taxonomy import LANGUAGES

NAMES = ("English", "suomi", "हिन्दी", "日本語", "Tiếng Việt")
"""What each language calls itself, in the order of `LANGUAGES`."""

EXAMPLES = (
    "How do I save a document as a PDF?",
    "Miten tallennan asiakirjan PDF-tiedostona?",
    "मैं किसी दस्तावेज़ को PDF के रूप में कैसे सहेजूँ?",
    "ドキュメントを PDF として保存するにはどうすればよいですか?",
    "Làm thế nào để lưu tài liệu dưới dạng PDF?",
)

# fmt: off
_WORDS: dict[str, tuple[str, str, str, str, str]] = {
    # the page
    "conversation": ("Conversation", "Keskustelu", "बातचीत", "会話", "Cuộc trò chuyện"),
    "message": ("Your message", "Viestisi", "आपका संदेश", "メッセージ", "Tin nhắn của bạn"),
    "keys": (
        "Enter sends, Shift+Enter starts a new line",
        "Enter lähettää, Shift+Enter aloittaa uuden rivin",
        "Enter से भेजें, Shift+Enter से नई पंक्ति",
        "Enter で送信、Shift+Enter で改行",
        "Enter để gửi, Shift+Enter để xuống dòng",
    ),
    "send": ("Send", "Lähetä", "भेजें", "送信", "Gửi"),
    "stop": ("Stop", "Pysäytä", "रोकें", "停止", "Dừng"),
    "new": ("New chat", "Uusi keskustelu", "नई बातचीत", "新しい会話", "Trò chuyện mới"),
    "theme": ("Light / dark", "Vaalea / tumma", "हल्का / गहरा", "明 / 暗", "Sáng / tối"),
    "language": ("Language", "Kieli", "भाषा", "言語", "Ngôn ngữ"),
    "model": ("Model", "Malli", "मॉडल", "モデル", "Mô hình"),
    "compare": ("Compare with", "Vertaa malliin", "किससे तुलना करें", "比較する相手", "So sánh với"),
    "nothing": ("(nothing)", "(ei mihinkään)", "(किसी से नहीं)", "(なし)", "(không)"),
    "settings": ("Settings", "Asetukset", "सेटिंग", "設定", "Cài đặt"),
    "system": (
        "System prompt", "Järjestelmäkehote", "सिस्टम प्रॉम्प्ट", "システムプロンプト",
        "Lời nhắc hệ thống",
    ),
    "system_info": (
        "How the model should behave; judged like a question",
        "Miten mallin pitää toimia; arvioidaan kuten kysymys",
        "मॉडल कैसे व्यवहार करे; इसे भी प्रश्न की तरह जाँचा जाता है",
        "モデルのふるまい。質問と同じように判定されます",
        "Mô hình nên cư xử thế nào; được xét như câu hỏi",
    ),
    "temperature": ("Temperature", "Lämpötila", "टेम्परेचर", "温度", "Nhiệt độ"),
    "top_p": ("Top p", "Top p", "Top p", "Top p", "Top p"),
    "max_tokens": (
        "Longest answer, tokens", "Pisin vastaus, tokeneita", "सबसे लंबा उत्तर, टोकन",
        "回答の最大トークン数", "Câu trả lời dài nhất, token",
    ),
    "repetition_penalty": (
        "Repetition penalty", "Toistorangaistus", "दोहराव दंड", "繰り返しペナルティ", "Phạt lặp lại",
    ),
    "seed": ("Seed", "Siemenluku", "सीड", "シード", "Hạt giống"),
    "seed_info": (
        "Same seed, same answer; empty: a new one each time",
        "Sama siemenluku, sama vastaus; tyhjä: joka kerta uusi",
        "वही सीड, वही उत्तर; ख़ाली: हर बार नया",
        "同じシードなら同じ回答。空欄なら毎回新しい値",
        "Cùng hạt giống, cùng câu trả lời; để trống: mỗi lần một số mới",
    ),
    # what the policy does to answers
    "mode_block": (
        "Every question and every answer passes the safety filter.",
        "Jokainen kysymys ja jokainen vastaus kulkee turvasuodattimen läpi.",
        "हर प्रश्न और हर उत्तर सुरक्षा फ़िल्टर से होकर गुज़रता है।",
        "すべての質問と回答は安全フィルターを通ります。",
        "Mọi câu hỏi và câu trả lời đều đi qua bộ lọc an toàn.",
    ),
    "mode_redact": (
        "Harmful questions are blocked; harmful parts of answers are removed.",
        "Haitalliset kysymykset estetään; vastausten haitalliset osat poistetaan.",
        "हानिकारक प्रश्न रोके जाते हैं; उत्तरों के हानिकारक हिस्से हटाए जाते हैं।",
        "有害な質問は止められ、回答の有害な部分は削除されます。",
        "Câu hỏi có hại bị chặn; phần có hại của câu trả lời bị xóa.",
    ),
    "mode_flag": (
        "Harmful questions are blocked; harmful answers are only flagged, and shown.",
        "Haitalliset kysymykset estetään; haitalliset vastaukset vain merkitään ja näytetään.",
        "हानिकारक प्रश्न रोके जाते हैं; हानिकारक उत्तर केवल चिह्नित होते हैं और दिखाए जाते हैं।",
        "有害な質問は止められますが、有害な回答は印が付くだけで表示されます。",
        "Câu hỏi có hại bị chặn; câu trả lời có hại chỉ bị đánh dấu và vẫn hiển thị.",
    ),
    "mode_off": (
        "Harmful questions are blocked; answers are NOT judged: their filter is off.",
        "Haitalliset kysymykset estetään; vastauksia EI arvioida: niiden suodatin on pois päältä.",
        "हानिकारक प्रश्न रोके जाते हैं; उत्तरों की जाँच नहीं होती: उनका फ़िल्टर बंद है।",
        "有害な質問は止められますが、回答は判定されません。回答のフィルターはオフです。",
        "Câu hỏi có hại bị chặn; câu trả lời KHÔNG được xét: bộ lọc đang tắt.",
    ),
    # what the filter decided
    "filter": ("Safety filter", "Turvasuodatin", "सुरक्षा फ़िल्टर", "安全フィルター", "Bộ lọc an toàn"),
    "input": ("question", "kysymys", "प्रश्न", "質問", "câu hỏi"),
    "output": ("answer", "vastaus", "उत्तर", "回答", "câu trả lời"),
    "allow": (
        "no harm found", "haittaa ei löytynyt", "कोई हानि नहीं मिली", "有害性は検出されず",
        "không thấy nguy hại",
    ),
    "flag": (
        "flagged, and let through", "merkitty, mutta päästetty läpi", "चिह्नित, पर जाने दिया गया",
        "印を付けて通過", "bị đánh dấu nhưng vẫn cho qua",
    ),
    "redact": (
        "harmful part removed", "haitallinen osa poistettu", "हानिकारक हिस्सा हटाया गया",
        "有害な部分を削除", "phần có hại đã bị xóa",
    ),
    "block": (
        "blocked, text held back", "estetty, teksti pidätetty", "रोका गया, पाठ दबा लिया गया",
        "ブロックし、本文は保留", "bị chặn, nội dung được giữ lại",
    ),
    "unverified": (
        "not verified, and let through", "ei varmistettu, mutta päästetty läpi",
        "सत्यापित नहीं, पर जाने दिया गया", "未検証のまま通過", "chưa kiểm chứng nhưng vẫn cho qua",
    ),
    "unjudged": ("not judged", "ei arvioitu", "जाँचा नहीं गया", "判定なし", "chưa được xét"),
    "untold": (
        "the server does not say what it decided", "palvelin ei kerro päätöksestään",
        "सर्वर नहीं बताता कि क्या निर्णय हुआ", "サーバーは判定内容を知らせません",
        "máy chủ không cho biết quyết định",
    ),
    "score": ("score", "pistemäärä", "स्कोर", "スコア", "điểm"),
    "parts": (
        "{count} of {all} parts", "{count}/{all} osaa", "{all} में से {count} हिस्से",
        "{all} 個中 {count} 個の部分", "{count}/{all} phần",
    ),
    "why_unverified": (
        "The judge was not measured on this language, or cannot tell which one it is: do not rely "
        "on what it found.",
        "Arvioijaa ei ole mitattu tällä kielellä, tai kieli ei selvinnyt: älä luota tulokseen.",
        "जाँचकर्ता इस भाषा पर मापा नहीं गया, या भाषा पहचानी नहीं गई: परिणाम पर भरोसा न करें।",
        "この言語では判定の精度が測定されていないか、言語を特定できません。結果は当てになりません。",
        "Bộ xét chưa được đo với ngôn ngữ này, hoặc không nhận ra ngôn ngữ: đừng tin vào kết quả.",
    ),
    "why_failed": (
        "The judge failed or took too long, so nobody judged this text.",
        "Arvioija epäonnistui tai oli liian hidas, joten kukaan ei arvioinut tekstiä.",
        "जाँचकर्ता विफल रहा या बहुत धीमा था, इसलिए इस पाठ की जाँच नहीं हुई।",
        "判定に失敗したか時間切れになったため、この文章は判定されていません。",
        "Bộ xét bị lỗi hoặc quá chậm nên văn bản này chưa được xét.",
    ),
    "held_input": (
        "The model was not asked, and the question is left out of what follows.",
        "Mallilta ei kysytty, ja kysymys jätetään pois jatkosta.",
        "मॉडल से पूछा नहीं गया, और यह प्रश्न आगे की बातचीत में शामिल नहीं है।",
        "モデルには渡されず、この質問は以後の会話から除かれます。",
        "Mô hình không được hỏi, và câu hỏi không được dùng tiếp.",
    ),
    "held_output": (
        "The answer was ended; the harmful part never left the server.",
        "Vastaus lopetettiin; haitallinen osa ei koskaan lähtenyt palvelimelta.",
        "उत्तर रोक दिया गया; हानिकारक हिस्सा सर्वर से बाहर नहीं गया।",
        "回答は打ち切られ、有害な部分はサーバーから送られていません。",
        "Câu trả lời đã bị dừng; phần có hại chưa hề rời máy chủ.",
    ),
    "harm": (
        "harm to oneself or others", "itsensä tai muiden vahingoittaminen",
        "स्वयं या दूसरों को हानि", "自分や他人への危害", "gây hại cho bản thân hoặc người khác",
    ),
    "cyber": ("cyber-attacks", "kyberhyökkäykset", "साइबर हमले", "サイバー攻撃", "tấn công mạng"),
    "cbrn": (
        "chemical, biological, radiological and nuclear weapons",
        "kemialliset, biologiset, säteily- ja ydinaseet",
        "रासायनिक, जैविक, रेडियोलॉजिकल और परमाणु हथियार", "化学・生物・放射線・核兵器",
        "vũ khí hóa học, sinh học, phóng xạ và hạt nhân",
    ),
    "illegal": ("illegal acts", "laittomat teot", "ग़ैरक़ानूनी काम", "違法行為", "hành vi phạm pháp"),
    "privacy": (
        "infringement of privacy and rights", "yksityisyyden ja oikeuksien loukkaaminen",
        "निजता और अधिकारों का हनन", "プライバシーと権利の侵害",
        "xâm phạm quyền riêng tư và các quyền",
    ),
    "control": (
        "circumvention of safety rules and human control",
        "turvallisuussääntöjen ja ihmisten valvonnan kiertäminen",
        "सुरक्षा नियमों और मानवीय नियंत्रण से बचना", "安全ルールや人による監督の回避",
        "né tránh quy tắc an toàn và sự kiểm soát của con người",
    ),
    "other": ("other harm", "muu haitta", "अन्य हानि", "その他の有害性", "nguy hại khác"),
    # how the answer came about
    "speed": (
        "{tokens} tokens in {seconds:.1f} s, {rate:.1f} tokens/s",
        "{tokens} tokenia, {seconds:.1f} s, {rate:.1f} tokenia/s",
        "{tokens} टोकन, {seconds:.1f} सेकंड, {rate:.1f} टोकन/सेकंड",
        "{tokens} トークン、{seconds:.1f} 秒、{rate:.1f} トークン/秒",
        "{tokens} token trong {seconds:.1f} giây, {rate:.1f} token/giây",
    ),
    "first": (
        "First text after {seconds:.1f} s", "Ensimmäinen teksti {seconds:.1f} s kuluttua",
        "पहला पाठ {seconds:.1f} सेकंड बाद", "最初の文字まで {seconds:.1f} 秒",
        "Chữ đầu tiên sau {seconds:.1f} giây",
    ),
    "length": (
        "Ended at the longest length", "Päättyi pisimpään pituuteen", "अधिकतम लंबाई पर समाप्त",
        "最大の長さで終了", "Kết thúc vì đạt độ dài tối đa",
    ),
    "left_out": (
        "{count} older messages no longer fit, and were left out",
        "{count} vanhempaa viestiä ei enää mahtunut mukaan",
        "{count} पुराने संदेश अब नहीं समाते, इसलिए छोड़ दिए गए",
        "古いメッセージ {count} 件は入りきらないため除かれました",
        "{count} tin nhắn cũ không còn vừa nên bị bỏ qua",
    ),
    "stopped": (
        "Stopped; what had come until then is kept", "Pysäytetty; siihen asti tullut säilyy",
        "रोका गया; तब तक जो आया वह रखा गया है", "停止しました。それまでの内容は残ります",
        "Đã dừng; phần đã hiện được giữ lại",
    ),
    "failed": ("No answer", "Ei vastausta", "कोई उत्तर नहीं", "回答なし", "Không có câu trả lời"),
    "error_overloaded": (
        "The model is busy, or your key has used what it may: try again later.",
        "Malli on varattu, tai avaimesi on käyttänyt osuutensa: yritä myöhemmin uudelleen.",
        "मॉडल व्यस्त है, या आपकी कुंजी अपनी सीमा तक पहुँच गई है: बाद में फिर कोशिश करें।",
        "モデルが混み合っているか、キーの利用上限に達しました。後でもう一度お試しください。",
        "Mô hình đang bận, hoặc khóa của bạn đã dùng hết hạn mức: hãy thử lại sau.",
    ),
    "error_timeout": (
        "The answer took longer than this server allows.",
        "Vastaus kesti kauemmin kuin palvelin sallii.",
        "उत्तर में सर्वर की अनुमति से ज़्यादा समय लगा।",
        "回答に、サーバーの制限より長い時間がかかりました。",
        "Câu trả lời mất nhiều thời gian hơn mức máy chủ cho phép.",
    ),
    "error_failed": (
        "The model does not answer at the moment: try again later.",
        "Malli ei vastaa juuri nyt: yritä myöhemmin uudelleen.",
        "मॉडल अभी उत्तर नहीं दे रहा: बाद में फिर कोशिश करें।",
        "モデルが現在応答していません。後でもう一度お試しください。",
        "Mô hình hiện không trả lời: hãy thử lại sau.",
    ),
    "error_invalid": (
        "The question cannot be asked like this.", "Kysymystä ei voi esittää näin.",
        "प्रश्न इस रूप में नहीं पूछा जा सकता।", "この形では質問できません。",
        "Không thể hỏi theo cách này.",
    ),
}

LABELS: dict[str, tuple[str, str, str, str, str]] = {
    "log": (
        "chatbot conversation", "keskustelun viestit", "बातचीत के संदेश", "会話の記録",
        "Tin nhắn trong cuộc trò chuyện",
    ),
    "edit": ("Edit", "Muokkaa", "संपादित करें", "編集", "Chỉnh sửa"),
    "retry": ("Retry", "Yritä uudelleen", "पुनः प्रयास करें", "再試行", "Thử lại"),
    "undo": ("Undo", "Kumoa", "वापस लें", "元に戻す", "Hoàn tác"),
    "submit": ("Submit", "Lähetä", "भेजें", "送信", "Gửi"),
    "cancel": ("Cancel", "Peruuta", "रद्द करें", "キャンセル", "Hủy"),
    "clear": ("Clear", "Tyhjennä keskustelu", "चैट साफ़ करें", "会話をクリア", "Xóa cuộc trò chuyện"),
    "copy": (
        "Copy message", "Kopioi viesti", "संदेश कॉपी करें", "メッセージをコピー", "Sao chép tin nhắn",
    ),
    "copied": (
        "Copied message", "Viesti kopioitu", "संदेश कॉपी हुआ", "メッセージをコピーしました",
        "Đã sao chép tin nhắn",
    ),
    "copy_all": (
        "Copy conversation", "Kopioi keskustelu", "बातचीत कॉपी करें", "会話をコピー",
        "Sao chép cuộc trò chuyện",
    ),
    "copied_all": (
        "Copied conversation", "Keskustelu kopioitu", "बातचीत कॉपी हुई", "会話をコピーしました",
        "Đã sao chép cuộc trò chuyện",
    ),
    "reset": (
        "Reset to default value", "Palauta oletusarvo", "मूल मान पर लौटाएँ", "既定値に戻す",
        "Đặt lại giá trị mặc định",
    ),
}
"""What Gradio calls its own buttons, in its words where it has any: it knows the language of the
browser and not that of the page, and no Vietnamese."""
# fmt: on


def word(language: str, key: str, **values: object) -> str:
    """Return what is called `key`, in a language of `LANGUAGES` or else in English."""
    place = LANGUAGES.index(language) if language in LANGUAGES else 0
    return _WORDS[key][place].format(**values)
