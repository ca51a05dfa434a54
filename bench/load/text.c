/* Text like that of a document, for the inside of a JSON string: real text compresses neither to nothing
 * nor not at all. It is the same at every run, and another piece of it at each call. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST = 1 << 16, STEP = 4099 };

static const char *const WORDS[] = {
    "project", "the", "of", "and", "to", "a", "in", "is", "for", "on", "with", "be", "we", "that", "it", "as", "by",
    "task", "board", "review", "design", "release", "deadline", "customer", "meeting", "draft", "section", "version",
    "sketch", "budget", "owner", "milestone", "feedback", "question", "answer", "before", "after", "should", "needs",
    "next", "week", "Monday", "team", "first", "still", "open", "done", "later", "perhaps", "please", "check", "again",
    "colour", "button", "layout", "page", "database", "server", "message", "cursor", "canvas", "numbers", "report"};

static const char *const MARKS[] = {" ", " ", " ", " ", " ", " ", " ", " ", " ", ", ", ". ", " **", "** ", " `", "` ",
                                    "\\n- ", "\\n\\n## ", "\\n\\n", "\\n- [ ] ", " (", ") ", ": "};

static uint32_t next_random(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 16;
}

static void put(char *text, size_t *at, const char *piece) {
    size_t length = strlen(piece);
    memcpy(text + *at, piece, length);
    *at += length;
}

const char *some_text(size_t length) {
    static char *all, *piece;
    static size_t span, from;
    if (!all) {
        size_t at = 0;
        span = LEAST + length;
        all = malloc(span + length + 64);
        piece = malloc(length + 1);
        while (at < span + length) {
            put(all, &at, WORDS[next_random() % (sizeof WORDS / sizeof *WORDS)]);
            put(all, &at, MARKS[next_random() % (sizeof MARKS / sizeof *MARKS)]);
        }
    }
    memcpy(piece, all + from, length);
    piece[length] = 0;
    if (length && piece[length - 1] == '\\') piece[length - 1] = ' '; /* half of an escape */
    from = (from + STEP) % span;
    return piece;
}
