// SPDX-License-Identifier: Apache-2.0
/* rules: the first rule whose filter accepts a packet decides where it leaves, or that it does not.
 * Python sees to it that the last rule accepts all. */
#include "filter.h"
#include "ways.h"

// [python]
enum rule_act { RULE_PASS, RULE_DROP, RULE_TO };

struct rule {
    struct filter *only; /* NULL: all packets */
    uint32_t act;        /* enum rule_act */
    uint32_t port;       /* RULE_TO: the number of the port that they leave by */
    uint64_t packets, bytes;
};

struct rules_loop {
    struct ways_loop w;
    struct rule *rules;
    uint32_t n_rules;
};
void loop_rules(struct worker *w);
// [c]

enum { NO_RULE = UINT16_MAX };

/* Finds the rule of each packet, NO_RULE where there is none, which can't be. */
static void find_rules(const struct rules_loop *r, const struct lane *lane, uint32_t n,
                       uint16_t *rules)
{
    uint64_t left = n < 64 ? (1ULL << n) - 1 : UINT64_MAX;
    memset(rules, 0xFF, n * sizeof *rules);
    for (uint32_t i = 0; left && i < least(r->n_rules, NO_RULE); i++) {
        struct filter *only = r->rules[i].only;
        uint64_t hits = only ? filter_burst(only, lane->rx, &lane->received, n) & left : left;
        left &= ~hits;
        for (; hits; hits &= hits - 1)
            rules[__builtin_ctzll(hits)] = (uint16_t)i;
    }
}

/* The exit that a rule says; NULL: none, and *reason is why. */
static struct exit *obey(const struct rule *rule, struct lane *lane, const struct ways *ways,
                         enum drop_reason *reason)
{
    *reason = rule->act == RULE_DROP ? DROP_FILTERED : DROP_NO_ROUTE;
    if (rule->act == RULE_DROP)
        return NULL;
    return way_to(lane, ways, rule->act == RULE_TO ? rule->port : ways->other);
}

static void judge(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct rules_loop *r = (struct rules_loop *)f;
    const struct ways *ways = lane_ways(&r->w, lane);
    uint16_t rules[BURST_MAX];
    find_rules(r, lane, n, rules);
    mirror(&r->w, lane, ways, n);
    for (uint32_t i = 0; i < n; i++) {
        enum drop_reason reason = DROP_NO_ROUTE;
        struct exit *e = NULL;
        if (likely(rules[i] < r->n_rules)) {
            struct rule *rule = &r->rules[rules[i]];
            rule->packets++;
            rule->bytes += lane->received.packets[i].length;
            e = obey(rule, lane, ways, &reason);
        }
        if (likely(e != NULL))
            lane_put(lane, e, i);
        else
            lane_discard(f, lane, i, reason);
    }
}

void loop_rules(struct worker *w) { forward_run(w, NULL, judge); }
