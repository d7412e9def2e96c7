"""The tiny model's names, topics and moderator's phrases: what it has seen, and what is kept from it for measuring."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _split(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


TOPICS = _split("""tea, coffee, the sea, old books, music, time, friendship, rain, cats, dogs, winter, summer,
 trains, bicycles, bread, cities, silence, money, work, school, love, fear, dreams, sleep, robots, computers, space
 travel, the moon, artificial intelligence, language, mathematics, chess, football, cooking, gardens, forests,
 birds, bees, honey, chocolate, paper, letters, maps, bridges, houses, doors, windows, clocks, shoes, hats,
 colours, painting, photography, theatre, film, jazz, poetry, history, science, medicine, health, running,
 swimming, mountains, rivers, islands, deserts, volcanoes, storms, wind power, solar energy, nuclear power,
 electric cars, public transport, remote work, the future, the past, childhood, old age, education, exams,
 homework, curiosity, creativity, courage, honesty, happiness, luck, justice in courts, democracy, privacy, social
 media, video games, toys, holidays, travel, trust, fashion, advertising, small talk, jokes, climate change,
 recycling, water, salt, sugar, cheese, soup, apples, tomatoes, rice, fishing, farming, bakeries, libraries,
 museums, hospitals, airports, hotels, neighbours, families, weddings, teamwork, leadership, open source software,
 programming, databases, the internet, telephones, radio, newspapers, rumours, memory, attention, habits, rituals,
 meditation, free will, consciousness, ethics, beauty, noise, gravity as a toy, black holes, stars, planets,
 dinosaurs, evolution, genes, viruses, vaccines, antibiotics, whales, penguins in zoos, elephants, horses, spiders,
 mushrooms, roses and thorns, trees, wood, glass, iron, gold, plastic, oil, batteries in cars, elevators,
 skyscrapers, castles, pyramids, ships, pirates, spies, detectives, magic, ghosts, dragons, heroes""")

UNSEEN_TOPICS = _split("""origami, blockchain, snowboarding, volleyball, astrology, beekeeping, cryptography, pottery,
 quantum computing, karaoke, archaeology, urban farming, submarines, perfume, bonsai, marathons, sourdough,
 tattoos, lighthouses, podcasts, satellites, ballet, graffiti, vegetarian food, kite surfing, lava lamps, the stock
 market, machine translation, minimum wage, knitting, thunder, glaciers, opera, rockets, camping, mosquitoes, the
 Olympic Games, copyright law, paragliding, electric guitars""")

NAMES = _split("""Zen Sage, TinkerBot, Mira, Otto, Ada, Basil, Clara, Dmitri, Elena, Farid, Greta, Hugo, Ines,
 Jonas, Kira, Leo, Maya, Nils, Olga, Pablo, Quinn, Rosa, Sami, Tara, Uma, Viktor, Wanda, Xenia, Yusuf, Zoe, Alice,
 Bob, Carol, Dave, Eve, Frank, Grace, Heidi, Ivan, Judy, Mallory, Niaj, Peggy, Sybil, Trent, Walter, Philosopher,
 Scientist, Historian, Researcher, Assistant, Skeptic, Poet, Inventor, Sage, Tinker, Comedian, Engineer, Helper,
 Basic Bot, TinyBot, Old Tom, Dr. Watson, Professor Lin, Lady Blue, Captain Rook, Red Fox, Blue Owl, Silent Ann,
 Master Wu, Gear Head, Agent 7, Bot 3, user_42, GPT-4, phi-2, Llama, Gemma, Qwen, Mistral, Claude, Socrates, Plato,
 Ada Lovelace, Newton, Marie, Herodotus, Data, Echo, Nova, Pixel, Spark, River, Stone, Sky, Luna, Sol, Anna, Ben,
 Chris, Dana, Emil, Fay, Gus, Hana""")
MODERATORS = ("Moderator",) * 12 + ("Host", "Chair", "Admin", "Anna", "Jim", "moderator", "Mod", "The Host")
USERS = ("Curious User",) * 5 + ("User", "Visitor", "Guest", "Sam", "Newcomer", "Student", "Alex", "user")
UNSEEN_NAMES = _split("""Hypatia, Bolt, Professor Quill, Nadia, Gizmo, Marcus, Sparky, Old Willow, Kepler, Doctor Moss,
 Ravi, Ms. Penny, Ember, Wolfgang, Tesla, Sister Agnes, Robo 9, Yuki, Brother Jan, Cleo""")

ASKS = lines("""
    What do you think about {T}?
    What do you think of {T}?
    Let us talk about {T}.
    Let's talk about {T}.
    Please discuss {T}.
    Today's topic is {T}.
    Our topic is {T}.
    Topic: {T}
    Tell me about {T}.
    Tell us something about {T}.
    Welcome, everybody. What about {T}?
    Hello all. Today we talk about {T}.
    Why is {T} important?
    Is {T} good or bad?
    How does {T} change our lives?
    What is the best thing about {T}?
    What is {T}?
    {N}, what do you think about {T}?
    What do you think about {T}, {N}?
    I would like to talk about {T} now, everybody.
    We are here to talk about {T}. Who begins?
    Do you like {T}?
    Should we have more {T}?
    What is the future of {T}?
    Who can explain {T}?
    I would like to hear your views on {T}.
    I want to know more about {T}.
    Can you help me with {T}?
    how do you feel about {T}
    lets discuss {T}
    {T}?
    Please introduce yourselves and say a word about {T}.
    How should a city deal with {T}?
    Will {A} replace {T}?
    What does {A} have to do with {T}?""")
LEADS = ("Thank you.", "Good.", "Very interesting.", "Hello, all.", "Welcome!", "All right.", "Fine, thank you both.")
CHANGES = lines("""
    Now please talk about {T} instead.
    New topic: {T}.
    Let us change the subject to {T}.
    Change of subject: {T}.
    Enough of {O}. What about {T}?
    Thank you. The next topic is {T}.
    Let's move on to {T}.
    Forget {O}, let us talk about {T}.
    Please stop talking about {O} and turn to {T}.
    Next: {T}.
    Good. And {T}?""")
HUSHES = lines("""
    No replies, please.
    No replies until I say so.
    Please be silent.
    Be silent now.
    Please do not respond until cleared.
    Do not reply to this.
    Quiet, please.
    Silence, please. I need a moment.
    Hold your replies for now.
    no replies
    Please wait and do not answer.
    Stop talking, everybody. No replies.""")
CLEARS = lines("""
    You may speak again.
    Replies are welcome again.
    Please go on.
    Please continue.
    All clear, go on.
    The silence is lifted.
    You are cleared to respond.
    You can reply now.""")
ASIDES = lines("""
    I am reading your lines.
    One moment.
    I will be back in a minute.
    I have to make a note of {T}.
    Hello? Is anybody there?
    What do you think about {T}?
    We will talk about {T} later.""")
PROMPTS_ON = lines("""
    Please go on.
    Interesting. Do you agree with each other?
    {N}, what do you think?
    {N}, please answer.
    Does anybody disagree?
    Thank you, {N}. Who else?
    Keep it short, please.""")
HELLOS = lines("""
    Hello!
    Hi everyone.
    Hello everybody, please introduce yourselves.
    Good morning. Who is here?
    Welcome to the room.
    hi
    Who are you?""")
