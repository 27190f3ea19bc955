/* A load client for one machine: thousands of WebSockets and signed POSTs from one epoll loop. */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 36, PATIENCE = 20 }; /* a payment's UUID; seconds that one handshake may take */

typedef struct { /* an event's POST and its frames; times in seconds since the start, 0 for never */
    char key[KEY + 1];
    char *request;
    uint32_t size;
    double due, posted, answered, first, last;
    int received, status; /* sockets that received the frame, HTTP status */
} Event;

typedef struct { /* one page's WebSocket, plain or Engine.IO */
    int kind, fd, state, port, counted, greeted;
    char *handshake, *rest; /* bytes of a frame that is not whole yet */
    uint32_t handshake_size;
    int rest_size;
    long head; /* the newest number that it has received */
    double since, retry_at;
} Socket;

typedef struct { /* one keep-alive connection for POSTs */
    int kind, fd, port, busy, at, size;
    char answer[8192];
} Poster;

typedef struct {
    int conns, wait, cut, ports[16], n_ports, at_once;
    double rate, idle, patience;
} Plan;

enum { SOCKET, POSTER, INPUT }; /* the first field of everything that an epoll event points at */
enum { IDLE, CONNECTING, HANDSHAKING, JOINING, READY, WAITING };

extern Event *events;
extern Socket *sockets;
extern int n_events, n_sockets, n_ready, engine_io, go;
extern long messages, closed, attempts, wanted_head;
extern int close_codes[5000];
extern double delay_least, delay_most;
extern const char *marker, *hello;

int read_plan(Plan *plan, int count, char **words);
double now(void);
void watch(int fd, int change, uint32_t interest, void *owner);
int dial(int port, int blocking);
void write_all(int fd, const char *bytes, int size);

void open_socket(Socket *socket);
void drop_socket(Socket *socket, int reset);
void serve_socket(Socket *socket, uint32_t ready);
Event *event_of(const char *key);

int open_posters(int count, const int *ports, int n_ports);
int idle_poster(void);
int busy_posters(void);
void post(int poster, int event);
void serve_poster(Poster *poster);

#endif
