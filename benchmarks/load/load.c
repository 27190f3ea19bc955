/* load sockets=FILE events=FILE ports=N,N conns=N [wait=1] [rate=N] [cut=1] ...: benchmarks/load.py explains the options.
 *
 * Opens the sockets, prints a line, waits for a line, then posts the events and prints when frames came, as JSON. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

Event *events;
Socket *sockets;
int n_events, n_sockets, n_ready, engine_io, go, close_codes[5000];
long messages, closed, attempts, wanted_head;
double delay_least = 3, delay_most = 3;
const char *marker = "", *hello = "hello";
static int loop;
static double began;

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9 - began;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

void watch(int fd, int change, uint32_t interest, void *owner) {
    epoll_ctl(loop, change, fd, &(struct epoll_event){.events = interest, .data.ptr = owner});
}

int dial(int port, int blocking) {
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0), on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

void write_all(int fd, const char *bytes, int size) {
    for (int sent = 0; sent < size;) {
        int more = (int)send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (more < 0 && errno != EAGAIN) return; /* the next read reports the error */
        sent += more > 0 ? more : 0;
    }
}

static void turn(int milliseconds) {
    struct epoll_event found[256];
    int count = epoll_wait(loop, found, 256, milliseconds);
    for (int i = 0; i < count; i++) {
        int kind = *(int *)found[i].data.ptr;
        if (kind == SOCKET) serve_socket(found[i].data.ptr, found[i].events);
        if (kind == POSTER) serve_poster(found[i].data.ptr);
        char line[64];
        if (kind == INPUT && read(0, line, sizeof line) >= 0) go = 1;
    }
}

static void open_some(int at_once) {
    int under_way = 0;
    for (int i = 0; i < n_sockets; i++) {
        Socket *one = &sockets[i];
        int trying = one->state >= CONNECTING && one->state < READY;
        if (trying && now() - one->since > PATIENCE) drop_socket(one, 1), trying = 0;
        under_way += trying;
    }
    for (int i = 0; i < n_sockets && under_way < at_once; i++)
        if (sockets[i].state == IDLE || (sockets[i].state == WAITING && sockets[i].retry_at <= now()))
            open_socket(&sockets[i]), under_way++;
}

static int received_all(const Plan *plan, int counted) {
    if (plan->cut) return n_ready == n_sockets;
    return messages >= (long)n_events * counted;
}

static int may_post(const Plan *plan, int next, int counted, double start) {
    if (plan->rate > 0) return now() >= start + next / plan->rate;
    return !plan->wait || next == 0 || (events[next - 1].received >= counted && !busy_posters()) || now() - events[next - 1].posted > plan->idle;
}

static void run(const Plan *plan) {
    int next = 0, counted = 0;
    double start = now(), last = start;
    long before = -1;
    for (int i = 0; i < n_sockets; i++) counted += sockets[i].counted;
    if (plan->cut) {
        for (int i = 0; i < n_sockets; i++) wanted_head = sockets[i].head > wanted_head ? sockets[i].head : wanted_head;
        wanted_head += n_events;
        for (int i = 0; i < n_sockets; i++) drop_socket(&sockets[i], 1);
    }
    while (now() - start < plan->patience) {
        if (next < n_events && may_post(plan, next, counted, start)) {
            int free_one = idle_poster();
            if (free_one >= 0) {
                events[next].due = plan->rate > 0 ? start + next / plan->rate : now();
                post(free_one, next++);
                last = now();
                if (!plan->wait && plan->rate <= 0) continue;
            }
        }
        if (plan->cut) open_some(plan->at_once);
        turn(plan->rate > 0 || plan->cut ? 1 : 20);
        if (messages != before || busy_posters()) last = now(), before = messages;
        int finished = next == n_events && !busy_posters();
        if (finished && (received_all(plan, counted) || (!plan->cut && now() - last > plan->idle))) break;
    }
}

static void print_codes(void) { /* HTTP and close codes that sockets ended with */
    printf("\"codes\":{");
    for (int i = 0, some = 0; i < 5000; i++)
        if (close_codes[i]) printf("%s\"%d\":%d", some++ ? "," : "", i, close_codes[i]);
    printf("}");
}

static void print_events(void) {
    printf("\"events\":[");
    for (int i = 0; i < n_events; i++) {
        Event *one = &events[i];
        printf("%s[%.6f,%.6f,%.6f,%.6f,%.6f,%d,%d]", i ? "," : "", one->due, one->posted, one->answered, one->first, one->last, one->received, one->status);
    }
    printf("],");
    print_codes();
}

int main(int count, char **words) {
    static int input = INPUT;
    Plan plan = {.conns = 1, .idle = 3, .patience = 60, .at_once = 50};
    if (!read_plan(&plan, count, words)) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    began = now();
    loop = epoll_create1(0);
    if (plan.n_ports) open_posters(plan.conns, plan.ports, plan.n_ports);
    while (n_ready < n_sockets && now() < plan.patience) open_some(50), turn(5);
    printf("{\"ready\":%d,\"seconds\":%.4f,", n_ready, now());
    print_codes();
    printf("}\n");
    fflush(stdout);
    if (n_ready < n_sockets) return 3;
    watch(0, EPOLL_CTL_ADD, EPOLLIN, &input);
    while (!go) turn(1000);
    watch(0, EPOLL_CTL_DEL, 0, NULL);
    double cpu_before = cpu(), time_before = now();
    attempts = closed = 0;
    run(&plan);
    printf("{\"seconds\":%.6f,\"cpu\":%.4f,\"messages\":%ld,\"closed\":%ld,\"attempts\":%ld,\"ready\":%d,", now() - time_before, cpu() - cpu_before, messages, closed, attempts, n_ready);
    print_events();
    printf("}\n");
    return 0;
}
