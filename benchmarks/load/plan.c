/* Reads the options, the events to post and the sockets to open. */
#include "load.h"

static int *slots, n_slots = 1; /* events by key, open addressing; a slot holds an event's place + 1 */

static unsigned slot_of(const char *key) {
    unsigned hash = 2166136261u;
    for (int i = 0; i < KEY; i++) hash = (hash ^ (unsigned char)key[i]) * 16777619u;
    return hash & (unsigned)(n_slots - 1);
}

Event *event_of(const char *key) {
    if (!slots) return NULL;
    for (unsigned slot = slot_of(key); slots[slot]; slot = (slot + 1) & (unsigned)(n_slots - 1))
        if (!memcmp(events[slots[slot] - 1].key, key, KEY)) return &events[slots[slot] - 1];
    return NULL;
}

static void read_events(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t size;
    while (file && fread(&size, 4, 1, file) == 1) {
        events = realloc(events, (n_events + 1) * sizeof *events);
        Event *event = &events[n_events++];
        *event = (Event){.size = size, .request = malloc(size)};
        if (fread(event->key, KEY, 1, file) != 1 || fread(event->request, size, 1, file) != 1) exit(2);
    }
    while (n_slots < 2 * n_events + 1) n_slots *= 2;
    slots = calloc(n_slots, sizeof *slots);
    for (int i = 0; i < n_events; i++) {
        unsigned slot = slot_of(events[i].key);
        while (slots[slot]) slot = (slot + 1) & (unsigned)(n_slots - 1);
        slots[slot] = i + 1;
    }
    if (file) fclose(file);
}

static void read_sockets(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t about[3]; /* port, counted, size */
    while (file && fread(about, 4, 3, file) == 3) {
        sockets = realloc(sockets, (n_sockets + 1) * sizeof *sockets);
        Socket *one = &sockets[n_sockets++];
        *one = (Socket){.kind = SOCKET, .fd = -1, .port = (int)about[0], .counted = (int)about[1], .handshake_size = about[2]};
        one->handshake = malloc(about[2]);
        if (fread(one->handshake, about[2], 1, file) != 1) exit(2);
    }
    if (file) fclose(file);
}

int read_plan(Plan *plan, int count, char **words) {
    for (int i = 1; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) return 0;
        *value++ = 0;
        const char *name = words[i];
        if (!strcmp(name, "events")) read_events(value);
        if (!strcmp(name, "sockets")) read_sockets(value);
        if (!strcmp(name, "marker")) marker = value;
        if (!strcmp(name, "hello")) hello = value;
        if (!strcmp(name, "engine_io")) engine_io = atoi(value);
        if (!strcmp(name, "conns")) plan->conns = atoi(value);
        if (!strcmp(name, "wait")) plan->wait = atoi(value);
        if (!strcmp(name, "cut")) plan->cut = atoi(value);
        if (!strcmp(name, "at_once")) plan->at_once = atoi(value);
        if (!strcmp(name, "rate")) plan->rate = atof(value);
        if (!strcmp(name, "idle")) plan->idle = atof(value);
        if (!strcmp(name, "patience")) plan->patience = atof(value);
        if (!strcmp(name, "delay_least")) delay_least = atof(value);
        if (!strcmp(name, "delay_most")) delay_most = atof(value);
        if (!strcmp(name, "ports"))
            for (char *port = strtok(value, ","); port && plan->n_ports < 16; port = strtok(NULL, ",")) plan->ports[plan->n_ports++] = atoi(port);
    }
    return 1;
}
