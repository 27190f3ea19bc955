/* Signed POSTs over a few keep-alive connections. */
#include "load.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static Poster *posters;
static int n_posters;

int open_posters(int count, const int *ports, int n_ports) {
    posters = calloc(count, sizeof *posters);
    n_posters = count;
    for (int i = 0; i < count; i++) posters[i] = (Poster){.kind = POSTER, .fd = -1, .port = ports[i % n_ports]};
    return count;
}

int idle_poster(void) {
    static int last; /* connections take turns, so that every server gets as many events */
    for (int i = 1; i <= n_posters; i++) {
        int one = (last + i) % n_posters;
        if (!posters[one].busy) return last = one;
    }
    return -1;
}

int busy_posters(void) {
    int busy = 0;
    for (int i = 0; i < n_posters; i++) busy += posters[i].busy;
    return busy;
}

static void hang_up(Poster *poster) {
    close(poster->fd);
    poster->fd = -1;
}

void post(int number, int event) {
    Poster *poster = &posters[number];
    if (poster->fd >= 0) { /* the server may have closed it meanwhile */
        char one;
        if (recv(poster->fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) == 0) hang_up(poster);
    }
    if (poster->fd < 0) {
        poster->fd = dial(poster->port, 1);
        if (poster->fd < 0) {
            events[event].status = -1;
            return;
        }
        watch(poster->fd, EPOLL_CTL_ADD, EPOLLIN, poster);
    }
    poster->busy = 1, poster->at = event, poster->size = 0;
    events[event].posted = now();
    write_all(poster->fd, events[event].request, events[event].size);
}

static int whole(const Poster *poster) {
    const char *body = strstr(poster->answer, "\r\n\r\n");
    if (!body) return 0;
    int size = poster->size - (int)(body + 4 - poster->answer);
    const char *length = strcasestr(poster->answer, "content-length:");
    if (length && length < body) return size >= atoi(length + 15);
    return memmem(body + 2, size + 2, "\r\n0\r\n\r\n", 7) || memmem(body + 4, size, "0\r\n\r\n", 5);
}

void serve_poster(Poster *poster) {
    int room = (int)sizeof poster->answer - 1 - poster->size;
    if (room < 1024) poster->size = 0, room = sizeof poster->answer - 1; /* discard a long error page, whose status was read */
    int got = (int)read(poster->fd, poster->answer + poster->size, room);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (poster->busy) events[poster->at].status = -1;
        poster->busy = 0;
        hang_up(poster);
        return;
    }
    poster->size += got;
    poster->answer[poster->size] = 0;
    if (!poster->busy) return;
    if (!strncmp(poster->answer, "HTTP/1.1 ", 9)) events[poster->at].status = atoi(poster->answer + 9);
    if (!whole(poster)) return;
    events[poster->at].answered = now();
    poster->busy = 0;
    if (strcasestr(poster->answer, "\r\nconnection: close")) hang_up(poster);
}
